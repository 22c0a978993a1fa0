// SPDX-License-Identifier: Apache-2.0
/** The modules of a space as reports, and new ones as acts. */
import { canonicalJson } from "@ctxmesh/codec";
import { publishSchema } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { DeviceSigner, ModuleReport } from "@ctxmesh/model";
import { moduleName, modulesOf } from "@ctxmesh/replica";
import { prepareModule } from "@ctxmesh/sandbox";
import { encodeModuleEntry, parseModuleEntry } from "@ctxmesh/schema";

const ENTRIES = ["resolve", "admit"] as const;

/** What a module can decide, or why it can't be used. */
function usesOf(bytes: Uint8Array): Pick<ModuleReport, "entries" | "problem"> {
  try {
    const prepared = prepareModule(bytes);
    return { entries: ENTRIES.filter((entry) => prepared.has(entry)) };
  } catch (error) {
    const { code, message } = toMeshError(error);
    if (code !== "MODULE_INVALID") throw error;
    return { entries: [], problem: message };
  }
}

/** The modules of a space, by name. */
export function reportModules(space: Space): readonly ModuleReport[] {
  const acts = new Map<string, Space["schemas"][number]>(space.schemas.map((act) => [act.id, act]));
  return modulesOf(space).map(({ module, name, bytes, act }) => ({
    module,
    name,
    bytes: bytes.length,
    ...usesOf(bytes),
    act,
    by: acts.get(act)?.by ?? "",
    addedAt: acts.get(act)?.time ?? 0,
  }));
}

/** Throws `POLICY_REFUSED` where a space lacks a module that can decide this: what names it would have no effect, or let nothing through. */
export function assertModule(
  space: Space,
  module: string,
  entry: "resolve" | "admit",
  added: ReturnType<typeof modulesOf> = modulesOf(space),
): void {
  const found = added.find((one) => one.module === module);
  if (found === undefined) {
    throw new MeshError("POLICY_REFUSED", `the space has no module ${module}`, {
      field: "module",
      remedy: "add it first: ctxmesh policy module add",
    });
  }
  const { entries, problem } = usesOf(found.bytes);
  if (entries.includes(entry)) return;
  throw new MeshError("POLICY_REFUSED", `${module}: ${problem ?? `it does not export ${entry}`}`, {
    field: "module",
  });
}

/** Throws `POLICY_REFUSED` where a rule of a policy names a module that the space lacks, or that is no resolver. */
export function assertPolicyModules(space: Space, { rules }: Pick<Space["policy"], "rules">): void {
  const named = rules.flatMap((rule) => (rule.resolver === "module" ? [rule.module] : []));
  const added = named.length === 0 ? [] : modulesOf(space);
  for (const module of new Set(named)) assertModule(space, module, "resolve", added);
}

/**
 * The space with an untrusted module added, and its name. `now` is Unix milliseconds. Throws `MODULE_INVALID`; `INPUT_INVALID` for its name for people; `LIMIT_EXCEEDED` over
 * `LIMITS.modules`; `POLICY_REFUSED` when the space has it, or the signer may not; and then nothing has changed.
 */
export function addModule(
  space: Space,
  signer: DeviceSigner,
  { name, bytes }: { readonly name: string; readonly bytes: Uint8Array },
  now: number,
): { readonly space: Space; readonly module: string } {
  void prepareModule(bytes);
  const module = moduleName(bytes);
  const present = modulesOf(space);
  if (present.some((added) => added.module === module)) {
    throw new MeshError("POLICY_REFUSED", `the space has ${module} already`, { field: "module" });
  }
  if (present.length >= LIMITS.modules) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `the space has ${String(LIMITS.modules)} modules, which is the limit`,
      { field: "module" },
    );
  }
  const entry = encodeModuleEntry({ name, bytes });
  void parseModuleEntry(entry);
  return { space: publishSchema(space, signer, canonicalJson(entry), now), module };
}
