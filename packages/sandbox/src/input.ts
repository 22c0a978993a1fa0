// SPDX-License-Identifier: Apache-2.0
/**
 * What a module is told. All numbers are little-endian; places are counted from the beginning of the input, and texts are UTF-8.
 *
 * ```
 * input     = version:u32 (1)  count:u32  doc:text  key:text  candidate * count  bytes
 * candidate = clock:f64  confidence:f64  number:f64  kind:u32  value:text  model:text  version:text  instance:text  tags:text
 *             writer:bytes(32)  0:u32
 * text      = place:u32  length:u32
 * ```
 *
 * The first candidate is at 24, and each has 104 bytes. `clock` is when it was written, in Unix milliseconds; `confidence` is 1 and the texts of
 * the source are empty where there is none; `number` is the value where that is one, and else 0. `kind` is 0 for a delete, whose value is empty, 1 null,
 * 2 false, 3 true, 4 a number, 5 a text, 6 an array, 7 an object. `value` is canonical JSON (RFC 8785). `tags` is each tag's length:u32
 * and bytes.
 */
import { LIMITS, fromHex } from "@ctxmesh/model";

/** One statement, as a module sees it. */
export interface StatementInput {
  /** Unix milliseconds. */
  readonly clockMs: number;
  /** Device key, hex. */
  readonly writer: string;
  /** Canonical JSON; absent for a delete. */
  readonly valueJson?: string;
  readonly confidence?: number;
  readonly source?: {
    readonly model: string;
    readonly version?: string;
    readonly instance?: string;
  };
  readonly tags?: readonly string[];
}

const VERSION = 1;
const HEADER = 24;
const STRIDE = 104;
const WRITER_AT = 68;
const NUMBER = 4;
const KINDS: Readonly<Record<string, number>> = { n: 1, f: 2, t: 3, '"': 5, "[": 6, "{": 7 };
const UTF8 = new TextEncoder();

/** The kind of a value by its JSON text. */
const kindOf = (valueJson: string | undefined): number =>
  valueJson === undefined ? 0 : (KINDS[valueJson.charAt(0)] ?? NUMBER);

/** About how many bytes a statement takes, and not less. */
const boundOf = ({ valueJson = "", source, tags = [] }: StatementInput): number => {
  const { model = "", version = "", instance = "" } = source ?? {};
  const units = valueJson.length + model.length + version.length + instance.length;
  return STRIDE + 3 * tags.reduce((sum, tag) => sum + tag.length + 4, units);
};

/** Writes texts behind the fixed part, and where they are into it. */
class Layout {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  end: number;

  constructor(bound: number, fixed: number) {
    this.bytes = new Uint8Array(bound);
    this.view = new DataView(this.bytes.buffer);
    this.end = fixed;
  }

  u32(at: number, value: number): void {
    this.view.setUint32(at, value, true);
  }

  f64(at: number, value: number): void {
    this.view.setFloat64(at, value, true);
  }

  #append(text: string): number {
    const { written } = UTF8.encodeInto(text, this.bytes.subarray(this.end));
    this.end += written;
    return written;
  }

  text(at: number, text: string): void {
    this.u32(at, this.end);
    this.u32(at + 4, this.#append(text));
  }

  texts(at: number, texts: readonly string[]): void {
    const from = this.end;
    for (const text of texts) {
      const { end } = this;
      this.end += 4;
      this.u32(end, this.#append(text));
    }
    this.u32(at, from);
    this.u32(at + 4, this.end - from);
  }
}

function writeStatement(layout: Layout, at: number, statement: StatementInput): void {
  const { clockMs, writer, valueJson, confidence = 1, source, tags = [] } = statement;
  const { model = "", version = "", instance = "" } = source ?? {};
  const kind = kindOf(valueJson);
  layout.f64(at, clockMs);
  layout.f64(at + 8, confidence);
  layout.f64(at + 16, kind === NUMBER ? Number(valueJson) : 0);
  layout.u32(at + 24, kind);
  layout.text(at + 28, valueJson ?? "");
  layout.text(at + 36, model);
  layout.text(at + 44, version);
  layout.text(at + 52, instance);
  layout.texts(at + 60, tags);
  layout.bytes.set(fromHex(writer), at + WRITER_AT);
}

/** The input of a call; undefined when it would have over `LIMITS.moduleInputBytes`. The statements are in the order in which they are given. */
export function encodeInput(
  doc: string,
  key: string,
  statements: readonly StatementInput[],
): Uint8Array | undefined {
  const fixed = HEADER + STRIDE * statements.length;
  if (fixed > LIMITS.moduleInputBytes) return undefined;
  const bound = statements.reduce(
    (sum, statement) => sum + boundOf(statement),
    HEADER + 3 * (doc.length + key.length),
  );
  // A unit of a text takes a byte at the least: no room is made for what can't be right.
  if (bound > 3 * LIMITS.moduleInputBytes + fixed) return undefined;
  const layout = new Layout(bound, fixed);
  layout.u32(0, VERSION);
  layout.u32(4, statements.length);
  layout.text(8, doc);
  layout.text(16, key);
  for (const [i, statement] of statements.entries()) {
    writeStatement(layout, HEADER + STRIDE * i, statement);
  }
  return layout.end > LIMITS.moduleInputBytes ? undefined : layout.bytes.subarray(0, layout.end);
}
