// SPDX-License-Identifier: Apache-2.0
/**
 * The modules of a space, and what they say. Which there are is a function of the valid acts, and what one says of the module and its input: so any
 * two nodes with the same acts and batches show the same, whatever else they did before.
 */
import { assertJsonValue, canonicalJson, utf8Encode } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import type { ModulePick, ModuleResolvers, Slot } from "@ctxmesh/facts";
import type { Space } from "@ctxmesh/membership";
import { LIMITS, MeshError, hlcToMs, toHex, toMeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { encodeInput, prepareModule } from "@ctxmesh/sandbox";
import type { Entry, Outcome, PreparedModule, StatementInput } from "@ctxmesh/sandbox";
import { isModuleEntry, parseModuleEntry } from "@ctxmesh/schema";
import type { Admission, ModuleAdmissions, Statement } from "@ctxmesh/schema";
import type { ModuleCall, ModuleWatch } from "./module-watch.ts";

/** A module that an act added. */
export interface AddedModule {
  /** `wasm:` and the SHA-256 in hex. */
  readonly module: string;
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Of the act, hex; of several that added the same bytes, the lowest. */
  readonly act: string;
}

/** Whether an error says of this machine that it can't run a module now, which says nothing of the module: only reading its keys has to wait. */
export const isUnrunnable = (error: unknown): boolean =>
  error instanceof MeshError && error.code === "INTERNAL";

/** What a call came to, or why there was none. */
type Said =
  | Extract<Outcome, { kind: "answer" }>
  | { readonly kind: "failed"; readonly reason: string; readonly problem: string };

/** The answer to `resolve` that no statement is shown, and that a value is. */
const NOTHING = -1;
const VALUE = -2;
/** Of calls with fewer steps the answer is as soon worked out again as looked up. */
const WORTH_REMEMBERING = LIMITS.moduleSteps / 16;
/** Some 10 ms of a server's time; what a call takes besides, in the same unit. */
const TURN_STEPS = 40 * LIMITS.moduleSteps;
const CALL_STEPS = 4_096;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The name of a module: `wasm:` and its SHA-256 in hex. */
export const moduleName = (bytes: Uint8Array): string => `wasm:${toHex(sha256(bytes))}`;

/** The modules that a space's acts add, by name; what is no entry of one has no effect, nor have more than `LIMITS.modules`. */
export function modulesOf({ schemas }: Pick<Space, "schemas">): readonly AddedModule[] {
  const found = new Map<string, AddedModule>();
  for (const { id, entry } of schemas.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    // Entries of schemas are not parsed twice for nothing.
    if (!entry.includes('"module":')) continue;
    try {
      const value = JSON.parse(entry) as JsonValue;
      if (!isModuleEntry(value)) continue;
      const { name, bytes } = parseModuleEntry(value);
      const module = moduleName(bytes);
      if (!found.has(module)) found.set(module, { module, name, bytes, act: id });
    } catch {
      // Whoever signed it did not check it. It is the same for every node.
    }
  }
  return [...found.values()]
    .toSorted((a, b) => (a.module < b.module ? -1 : 1))
    .slice(0, LIMITS.modules);
}

const prepared = new Map<string, PreparedModule | string>();

/** A module ready to be called, or why it never is; the last `LIMITS.preparedModules` are kept. */
function preparedOf({ module, bytes }: AddedModule): PreparedModule | string {
  const known = prepared.get(module);
  const ready = known ?? prepare(bytes);
  prepared.delete(module);
  prepared.set(module, ready);
  if (prepared.size > LIMITS.preparedModules) {
    const [oldest] = prepared.keys();
    if (oldest !== undefined) prepared.delete(oldest);
  }
  return ready;
}

function prepare(bytes: Uint8Array): PreparedModule | string {
  try {
    return prepareModule(bytes);
  } catch (error) {
    if (error instanceof MeshError && error.code === "MODULE_INVALID") return error.message;
    throw error;
  }
}

const failed = (reason: string, problem: string): Said => ({ kind: "failed", reason, problem });

/** A value that a module made, as canonical JSON; undefined when it is none. */
function valueOf(output: Uint8Array): string | undefined {
  try {
    const value: unknown = JSON.parse(UTF8.decode(output));
    assertJsonValue(value, "value");
    const text = canonicalJson(value);
    return utf8Encode(text).length > LIMITS.valueBytes ? undefined : text;
  } catch (error) {
    // A stack that ends is of this machine, and no answer.
    if (error instanceof RangeError)
      throw new MeshError("INTERNAL", error.message, { cause: error });
    return undefined;
  }
}

/** What a module picks; undefined when its answer is none. */
export function pickOf(
  { result, output }: Pick<Extract<Outcome, { kind: "answer" }>, "result" | "output">,
  slots: readonly Slot[],
): ModulePick | undefined {
  if (result === NOTHING) return { winner: undefined };
  if (result !== VALUE) return result in slots ? { winner: slots[result] } : undefined;
  const valueJson = valueOf(output ?? new Uint8Array());
  return valueJson === undefined ? undefined : { valueJson };
}

/** Why a value is not admitted, for people: one line, `LIMITS.moduleText` long at most. */
function textOf(output: Uint8Array | undefined): string {
  const text = new TextDecoder().decode(output).replaceAll(/\p{Cc}+/gv, " ");
  return text.slice(0, LIMITS.moduleText).toWellFormed().trim();
}

/** What an answer is remembered by, of which there may be many: a hash of it. */
const keyOf = (module: string, entry: Entry, input: Uint8Array): string =>
  toHex(sha256(utf8Encode(`${entry} ${module} ${toHex(sha256(input))}`)));

const inputOf = (slot: Slot): StatementInput => ({ ...slot, clockMs: hlcToMs(slot.hlc) });

/** Answers by module and input, the oldest forgotten first. */
class Answers {
  readonly #said = new Map<string, Said>();
  #bytes = 0;

  static #sizeOf(key: string, said: Said): number {
    return key.length + (said.kind === "answer" ? (said.output?.length ?? 0) : said.problem.length);
  }

  get(key: string): Said | undefined {
    return this.#said.get(key);
  }

  set(key: string, said: Said): void {
    this.#said.set(key, said);
    this.#bytes += Answers.#sizeOf(key, said);
    for (const [oldest, its] of this.#said) {
      const { size } = this.#said;
      if (size <= LIMITS.moduleAnswers && this.#bytes <= LIMITS.moduleAnswerBytes) break;
      this.#said.delete(oldest);
      this.#bytes -= Answers.#sizeOf(oldest, its);
    }
  }
}

/** The modules of a space as resolvers and as rules of admission. */
export class SpaceModules implements ModuleResolvers, ModuleAdmissions {
  readonly #added: ReadonlyMap<string, AddedModule>;
  readonly #answers = new Answers();
  /** Those that took many steps at some time: for the others it is not worth a look. */
  readonly #heavy = new Set<string>();
  /** Since others had their turn. */
  #steps = 0;
  /** Hears of every call. */
  watch: ModuleWatch | undefined;

  constructor(space: Pick<Space, "schemas">) {
    this.#added = new Map(modulesOf(space).map((added) => [added.module, added]));
  }

  /** Whether so much was done since this was last so that others should have their turn. */
  isRestDue(): boolean {
    if (this.#steps < TURN_STEPS) return false;
    this.#steps = 0;
    return true;
  }

  resolve(module: string, doc: string, newestFirst: readonly Slot[]): ModulePick | undefined {
    const key = newestFirst[0]?.key ?? "";
    let pick: ModulePick | undefined;
    this.#watched(module, doc, key, () => {
      const input = encodeInput(doc, key, newestFirst.map(inputOf));
      const said = this.#say(module, "resolve", input, (result) => result === VALUE);
      if (said.kind === "failed") return said;
      pick = pickOf(said, newestFirst);
      if (pick !== undefined) return said;
      return failed("answer", `${String(said.result)} is no statement and no value`);
    });
    return pick;
  }

  admit(module: string, doc: string, key: string, statement: Statement): Admission {
    const said = this.#watched(module, doc, key, () => {
      // A statement that is about to be made has no time yet, and is to be judged as it will be.
      const input = encodeInput(doc, key, [{ ...statement, clockMs: 0 }]);
      const answer = this.#say(module, "admit", input, (result) => result > 0);
      if (answer.kind === "failed" || answer.result >= 0) return answer;
      return failed("answer", `${String(answer.result)} is neither 0 nor a code`);
    });
    if (said.kind === "failed") return { kind: "failed", problem: said.problem };
    if (said.result === 0) return { kind: "admitted" };
    return { kind: "refused", code: said.result, text: textOf(said.output) };
  }

  #watched(module: string, doc: string, key: string, call: () => Said): Said {
    const { watch } = this;
    if (watch === undefined) return call();
    const startedAt = watch.now();
    const { name = "" } = this.#added.get(module) ?? {};
    const tell = (problem: ModuleCall["failed"]): void =>
      watch.called({ module, name, doc, key, startedAt, failed: problem });
    try {
      const said = call();
      tell(said.kind === "failed" ? { reason: said.reason, problem: said.problem } : undefined);
      return said;
    } catch (error) {
      tell({ reason: "machine", problem: toMeshError(error).message });
      throw error;
    }
  }

  #say(
    module: string,
    entry: Entry,
    input: Uint8Array | undefined,
    wants: (result: number) => boolean,
  ): Said {
    const added = this.#added.get(module);
    if (added === undefined) return failed("missing", "the module is not in the space");
    if (!prepared.has(module)) this.#steps += TURN_STEPS;
    const ready = preparedOf(added);
    if (typeof ready === "string") return failed("missing", ready);
    if (!ready.has(entry)) return failed("missing", `the module does not export ${entry}`);
    if (input === undefined) {
      const most = String(LIMITS.moduleInputBytes);
      return failed("input", `what is to be decided takes over ${most} bytes`);
    }
    const isHeavy = this.#heavy.has(module);
    const known = isHeavy ? this.#answers.get(keyOf(module, entry, input)) : undefined;
    if (known !== undefined) return known;
    const outcome = ready.call(entry, input, wants);
    this.#steps += CALL_STEPS + outcome.steps;
    const said = outcome.kind === "cut" ? failed(outcome.reason, outcome.problem) : outcome;
    if (outcome.steps >= WORTH_REMEMBERING) {
      this.#heavy.add(module);
      this.#answers.set(keyOf(module, entry, input), said);
    }
    return said;
  }
}
