// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh policy module`: programs in WebAssembly that decide for a space. */
import { basename } from "node:path";
import { assertJsonValue, canonicalJson } from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { FactSource, ModuleReport } from "@ctxmesh/model";
import { moduleName } from "@ctxmesh/replica";
import { encodeInput, prepareModule } from "@ctxmesh/sandbox";
import type { Entry, Outcome, PreparedModule, StatementInput } from "@ctxmesh/sandbox";
import { addModule, reportModules } from "@ctxmesh/service";
import { parseYaml } from "../config/yaml-file.ts";
import { inFile, readBoundedBytes, readSmallFile } from "../files.ts";
import { createOutput, formatTable, formatTime, printable, shortId } from "../output.ts";
import { readSigner, whereItGoes, withSpace } from "../space-source.ts";
import type { SpaceOptions } from "../space-source.ts";

/** Which space, and how to print. */
export interface ModuleOptions extends SpaceOptions {
  readonly json?: boolean;
}

/** Options of `ctxmesh policy module add`. */
export interface ModuleAddOptions extends ModuleOptions {
  readonly key: string;
  readonly name?: string;
}

/** Options of `ctxmesh policy module check`. */
export interface ModuleCheckOptions {
  readonly input?: string;
  readonly admit?: boolean;
  readonly json?: boolean;
}

const ENTRIES = ["resolve", "admit"] as const;

const readModule = (file: string): Promise<Buffer> =>
  readBoundedBytes(file, "module", "FILE_UNAVAILABLE", LIMITS.moduleBytes);

function prepared(bytes: Uint8Array, file: string): PreparedModule {
  try {
    return prepareModule(bytes);
  } catch (error) {
    throw inFile(file, error);
  }
}

/** Signs a module, for a running daemon or into a space file. Throws what its parts throw, and then nothing has changed. */
export async function runModuleAdd(file: string, options: ModuleAddOptions): Promise<void> {
  const bytes = new Uint8Array(await readModule(file));
  void prepared(bytes, file);
  await withSpace(options, async (open) => {
    const signer = await readSigner(options.key);
    const named = { name: options.name ?? basename(file), bytes };
    const { space, module } = addModule(open.space, signer, named, Date.now());
    await open.submit(space);
    const output = createOutput(options);
    if (output.json) {
      await output.line(JSON.stringify({ space: space.id, module, name: named.name }));
      return;
    }
    await output.line(`${open.name} now has the module ${printable(named.name)}`);
    await output.line(module);
    await output.line(whereItGoes(open));
  });
}

const stateOf = ({ entries, problem }: ModuleReport): string =>
  problem === undefined ? entries.join(", ") : `unusable: ${printable(problem)}`;

/** Lists the modules of a space. */
export async function runModuleLs(options: ModuleOptions): Promise<void> {
  const modules = await withSpace(options, ({ space }) => Promise.resolve(reportModules(space)));
  const output = createOutput(options);
  if (output.json) {
    for (const report of modules) await output.line(JSON.stringify(report));
    return;
  }
  if (modules.length === 0) {
    await output.line("no modules; docs/POLICY.md tells how to make one");
    return;
  }
  const head = ["MODULE", "NAME", "BYTES", "DECIDES", "ADDED", "BY"];
  const rows = modules.map((one) => [
    one.module,
    printable(one.name),
    String(one.bytes),
    stateOf(one),
    formatTime(one.addedAt),
    shortId(one.by),
  ]);
  for (const line of formatTable([head, ...rows])) await output.line(line);
}

type Members = Readonly<Record<string, unknown>>;

function refuse(problem: string): never {
  throw new MeshError("INPUT_INVALID", problem, { field: "input" });
}

function membersOf(value: unknown, what: string): Members {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Members;
  return refuse(`${what} is not a mapping`);
}

function textOf(value: unknown, what: string, absent: string): string {
  if (value === undefined) return absent;
  return typeof value === "string" ? value : refuse(`${what} is not text`);
}

function numberOf(value: unknown, what: string, absent: number): number {
  if (value === undefined) return absent;
  return typeof value === "number" ? value : refuse(`${what} is not a number`);
}

function sourceOf(value: unknown, what: string): FactSource | undefined {
  if (value === undefined) return undefined;
  const source = membersOf(value, what);
  const [model, version, instance] = ["model", "version", "instance"].map((name) =>
    textOf(source[name], `${what}.${name}`, ""),
  ) as [string, string, string];
  return { model, version, instance };
}

/** A statement of a file: `value` is left out for a delete, and everything else may be. */
function statementOf(item: unknown, index: number): StatementInput {
  const what = `candidates[${String(index)}]`;
  const { value, writer, clock, confidence, source, tags = [] } = membersOf(item, what);
  const key = textOf(writer, `${what}.writer`, "00".repeat(32));
  if (!/^[\da-f]{64}$/u.test(key)) refuse(`${what}.writer is not a device key in hex`);
  if (!Array.isArray(tags)) refuse(`${what}.tags is not a list`);
  const from = sourceOf(source, `${what}.source`);
  if (value !== undefined) assertJsonValue(value, `${what}.value`);
  return {
    writer: key,
    clockMs: numberOf(clock, `${what}.clock`, 0),
    confidence: numberOf(confidence, `${what}.confidence`, 1),
    tags: (tags as readonly unknown[]).map((tag) => textOf(tag, `${what}.tags`, "")),
    ...(value === undefined ? {} : { valueJson: canonicalJson(value) }),
    ...(from === undefined ? {} : { source: from }),
  };
}

/** What a file says that a module is told. Throws `CONFIG_INVALID`, `INPUT_INVALID`, `LIMIT_EXCEEDED`. */
async function readInput(file: string): Promise<Uint8Array> {
  const { value } = parseYaml(await readSmallFile(file, "input", "FILE_UNAVAILABLE"), file);
  const { doc, key, candidates } = membersOf(value, file);
  if (!Array.isArray(candidates) || candidates.length === 0) refuse("candidates is not a list");
  const statements = (candidates as readonly unknown[]).map(statementOf);
  const input = encodeInput(textOf(doc, "doc", "doc"), textOf(key, "key", "key"), statements);
  if (input !== undefined) return input;
  throw new MeshError(
    "LIMIT_EXCEEDED",
    `the input has over ${String(LIMITS.moduleInputBytes)} bytes, which no module is given`,
    { field: "input" },
  );
}

/** What a call came to, in words. */
function wordsOf(entry: Entry, outcome: Outcome, output: string | undefined): string {
  if (outcome.kind === "cut") return `cut off: ${printable(outcome.problem)}`;
  const { result } = outcome;
  if (entry === "admit") {
    return result === 0 ? "admitted" : `refused with ${String(result)}: ${printable(output ?? "")}`;
  }
  if (result === -2) return `shows the value ${printable(output ?? "")}`;
  return result === -1 ? "shows nothing" : `shows candidate ${String(result)}`;
}

/** Says whether a module could be added and, with an input, what it says of that. Throws `MODULE_INVALID`; `MODULE_FAILED` where it is cut off. */
export async function checkModule(file: string, options: ModuleCheckOptions): Promise<void> {
  const bytes = new Uint8Array(await readModule(file));
  const module = prepared(bytes, file);
  const about = {
    module: moduleName(bytes),
    bytes: bytes.length,
    entries: ENTRIES.filter((entry) => module.has(entry)),
  };
  const output = createOutput(options);
  if (options.input === undefined) {
    const lines = [
      about.module,
      `${String(about.bytes)} bytes; it can ${about.entries.join(" and ")}`,
    ];
    await output.line(output.json ? JSON.stringify(about) : lines.join("\n"));
    return;
  }
  const entry = options.admit === true || !module.has("resolve") ? "admit" : "resolve";
  const input = await readInput(options.input);
  // The first call compiles; what is told is what later ones take.
  void module.call(entry, input, () => false);
  const started = performance.now();
  const outcome = module.call(entry, input, (result) =>
    entry === "admit" ? result > 0 : result === -2,
  );
  const tookMs = performance.now() - started;
  const text =
    outcome.kind === "answer" && outcome.output !== undefined
      ? Buffer.from(outcome.output).toString("utf8")
      : undefined;
  const { output: _, ...rest } = { output: undefined, ...outcome };
  if (output.json) {
    const said = text === undefined ? {} : { output: text };
    await output.line(JSON.stringify({ ...about, entry, ...rest, ...said, tookMs }));
  } else {
    await output.line(`${entry}: ${wordsOf(entry, outcome, text)}`);
    const share = `${String(outcome.steps)} of ${String(LIMITS.moduleSteps)} steps`;
    await output.line(`${share}, ${tookMs.toFixed(3)} ms`);
  }
  if (outcome.kind === "answer") return;
  throw new MeshError("MODULE_FAILED", `${file}: ${outcome.problem}`, {
    remedy: "a module that is cut off decides nothing: docs/POLICY.md",
  });
}
