// SPDX-License-Identifier: Apache-2.0
import { setFlagsFromString } from "node:v8";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { encodeInput, prepareModule } from "@ctxmesh/sandbox";
import type { Outcome, PreparedModule } from "@ctxmesh/sandbox";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resolving, wat, withInterface } from "./wat.ts";

const INPUT: Uint8Array = new Uint8Array([5, 0, 0, 0]);
const never = (): boolean => false;
const run = (module: PreparedModule, input = INPUT): Outcome =>
  module.call("resolve", input, never);
const prepared = (code: string, others = "", memory?: string): PreparedModule =>
  prepareModule(resolving(code, others, memory));

/** What a module is refused with. */
function refusal(bytes: Uint8Array): string {
  try {
    prepareModule(bytes);
  } catch (error) {
    if (error instanceof MeshError && error.code === "MODULE_INVALID") return error.message;
    throw error;
  }
  return "taken";
}

/** Counts down from its input's first number. */
const LOOP = `(local $i i32) (local.set $i (i32.load (i32.const 1024)))
  (loop $l (local.set $i (i32.sub (local.get $i) (i32.const 1))) (br_if $l (i32.gt_s (local.get $i) (i32.const 0))))
  (i32.const 0)`;
const u32 = (value: number): Uint8Array => new Uint8Array(new Uint32Array([value]).buffer);

describe("steps", () => {
  test("are a number for each way through a module, and every round of a loop takes as many", () => {
    const module = prepared(LOOP);
    const stepsOf = (rounds: number): number => run(module, u32(rounds)).steps;
    const [one, two] = [stepsOf(1), stepsOf(2)];
    expect(two - one).toBe(8);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20_000 }), (rounds) => {
        expect(stepsOf(rounds)).toBe(one + (rounds - 1) * (two - one));
      }),
      { numRuns: 50 },
    );
  });

  test("end a loop that does not end, and whatever else the module did before, the next call has all of them", () => {
    const module = prepared(LOOP);
    const short = run(module, u32(3));
    const long = run(module, u32(2_000_000_000));
    expect(long).toMatchObject({ kind: "cut", reason: "steps", steps: LIMITS.moduleSteps });
    expect(run(module, u32(3))).toEqual(short);
    expect(run(prepared("(loop $l (br $l)) (i32.const 0)"))).toMatchObject({ reason: "steps" });
    expect(run(prepared("(loop $l (br_table $l $l (i32.const 1))) (i32.const 0)"))).toMatchObject({
      reason: "steps",
    });
  });

  test("are paid by length for copying and filling, and by page for memory", () => {
    const filling = (bytes: number): Outcome =>
      run(
        prepared(
          `(memory.fill (i32.const 0) (i32.const 1) (i32.const ${String(bytes)})) (i32.const 0)`,
        ),
      );
    expect(filling(16_016).steps - filling(16).steps).toBe(1_000);
    const endless =
      "(loop $l (memory.copy (i32.const 0) (i32.const 8) (i32.const 65000)) (br $l)) (i32.const 0)";
    expect(run(prepared(endless))).toMatchObject({ reason: "steps" });
    const grown = run(prepared("(memory.grow (i32.const 2))"));
    expect(grown).toMatchObject({ kind: "answer", result: 1 });
    expect(grown.steps).toBeGreaterThan(2 * 4_096);
  });
});

describe("a module is cut off", () => {
  const RECURSE = `(func $f (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0))))`;

  test("at the same depth, however deep the stack of the caller is", () => {
    const module = prepared("(call $f (i32.const 0))", RECURSE);
    const here = run(module);
    expect(here).toMatchObject({ kind: "cut", reason: "depth" });
    const deeper = (levels: number): Outcome => (levels === 0 ? run(module) : deeper(levels - 1));
    expect(deeper(4_000)).toEqual(here);
    const table =
      "(table 1 funcref) (elem (i32.const 0) $g) (func $g (result i32) (call_indirect (result i32) (i32.const 0)))";
    expect(run(prepared("(call $g)", table))).toMatchObject({ reason: "depth" });
    // Frames as large as they may be: the machine's own stack still does not end first.
    const locals = Array.from({ length: 200 }, (_, i) => `(local $l${String(i)} i64)`).join(" ");
    const use = Array.from(
      { length: 200 },
      (_, i) => `(local.set $l${String(i)} (i64.load offset=${String(8 * i)} (i32.const 0)))`,
    ).join(" ");
    const sum = Array.from(
      { length: 200 },
      (_, i) => `(local.set $l0 (i64.add (local.get $l0) (local.get $l${String(i)})))`,
    ).join(" ");
    const large = `(func $h (result i64) ${locals} ${use} (drop (call $h)) ${sum} (local.get $l0))`;
    expect(run(prepared("(drop (call $h)) (i32.const 0)", large))).toMatchObject({
      reason: "depth",
    });
  });

  test("at the same depth, whatever a compiler keeps across its calls", () => {
    // Worked out before the call and after it, so once: with 2,000 values of each call kept.
    const unary = ["i32.clz", "i32.ctz", "i32.popcnt"];
    const chain = (each: (value: string) => string): string =>
      Array.from({ length: 2_000 }, (_, i) => each(unary[(i * 7 + (i >> 3)) % 3] ?? "")).join(" ");
    const module = (): PreparedModule =>
      prepared(
        "(call $f (i32.const 123457))",
        `(func $f (param $x i32) (result i32) (local $t i32) (local $all i32)
          local.get $x ${chain((value) => value)} drop
          local.get $x i32.const 1 i32.add call $f local.set $all
          block local.get $all br_if 0 end
          local.get $x ${chain((value) => `${value} local.tee $t local.get $all i32.xor local.set $all local.get $t`)} local.get $all i32.add)`,
      );
    const first = run(module());
    // The other compiler of V8, which would take over some time later.
    setFlagsFromString("--no-liftoff");
    try {
      expect(run(module())).toEqual(first);
    } finally {
      setFlagsFromString("--liftoff");
    }
    expect(first).toMatchObject({ kind: "cut", reason: "depth" });
  });

  test("where it traps, and says why", () => {
    expect(run(prepared("(unreachable)"))).toMatchObject({ kind: "cut", reason: "trap" });
    expect(
      run(
        prepared("(i32.div_s (i32.const 1) (i32.sub (i32.load (i32.const 1024)) (i32.const 5)))"),
      ),
    ).toMatchObject({ reason: "trap" });
    expect(run(prepared("(i32.load (i32.const -4))"))).toMatchObject({ reason: "trap" });
  });

  test("where its places lie outside of its memory", () => {
    const output = (at: number, length: number): Outcome =>
      prepared(
        `(global.set $out (i32.const ${String(at)})) (global.set $outLength (i32.const ${String(length)})) (i32.const -2)`,
      ).call("resolve", INPUT, () => true);
    expect(output(65_530, 6)).toMatchObject({ kind: "answer", output: new Uint8Array(6) });
    for (const [at, length] of [
      [65_530, 7],
      [-1, 1],
      [0, -1],
      [0, LIMITS.valueBytes + 1],
    ] as const) {
      expect(output(at, length)).toMatchObject({ kind: "cut", reason: "answer" });
    }
    expect(run(prepared("(i32.const 0)"), new Uint8Array(65_536))).toMatchObject({
      reason: "answer",
    });
  });
});

/** A start function. */
const start = (code: string): string =>
  `(global $s (mut i32) (i32.const 0)) (func $start ${code}) (start $start)`;
/** What `memory.grow` answers. */
const asked = (memory: string, pages: number): Outcome =>
  run(prepared(`(memory.grow (i32.const ${String(pages)}))`, "", memory));
/** Whether something is the one NaN. */
const isCanonical = (type: "f32" | "f64", made: string): string =>
  type === "f32"
    ? `(i32.eq (i32.reinterpret_f32 ${made}) (i32.const 0x7fc00000))`
    : `(i64.eq (i64.reinterpret_f64 ${made}) (i64.const 0x7ff8000000000000))`;

describe("a call", () => {
  test("leaves nothing for the next: memory, globals and size are as at first", () => {
    const module = prepared(
      `(i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
       (i32.store (i32.const 70000) (i32.add (i32.load (i32.const 70000)) (i32.const 100)))
       (global.set $n (i32.add (global.get $n) (i32.const 10)))
       (if (i32.load8_u (i32.const 1028)) (then (drop (memory.grow (i32.const 1)))))
       (i32.add (i32.mul (memory.size) (i32.const 1000)) (i32.add (i32.load (i32.const 70000)) (i32.add (global.get $n) (i32.load (i32.const 64)))))`,
      '(global $n (mut i32) (i32.const 7)) (data (i32.const 64) "\\02")',
      "2 16",
    );
    const [plain, growing] = [new Uint8Array(5), new Uint8Array([0, 0, 0, 0, 1])];
    const [first, grown] = [run(module, plain), run(module, growing)];
    expect(first).toMatchObject({ result: 2_120 });
    expect(grown).toMatchObject({ result: 3_120 });
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 20 }), (calls) => {
        for (const grows of calls) {
          expect(run(module, grows ? growing : plain)).toEqual(grows ? grown : first);
        }
      }),
      { numRuns: 20 },
    );
  });

  test("begins with the start function, which is paid for like the rest", () => {
    const module = prepared(
      "(global.get $s)",
      start("(global.set $s (i32.add (global.get $s) (i32.const 3)))"),
    );
    expect([run(module), run(module)].map((each) => each.kind === "answer" && each.result)).toEqual(
      [3, 3],
    );
    expect(run(prepared("(i32.const 0)", start("(loop $l (br $l))")))).toMatchObject({
      reason: "steps",
    });
  });

  test("gets memory up to 16 pages, and -1 beyond, whatever the module asks for", () => {
    expect(asked("1 16", 15)).toMatchObject({ result: 1 });
    for (const [memory, pages] of [
      ["1 16", 16],
      ["1 4096", 100],
      ["1", 65_535],
      ["1 2", 2],
      ["1", -1],
    ] as const) {
      expect(asked(memory, pages)).toMatchObject({ result: -1 });
    }
  });

  test("has one NaN, whatever makes it of whichever", () => {
    const bits = "0x7ff4000000000123";
    const operand = {
      f32: "(f32.reinterpret_i32 (i32.const 0xffa00123))",
      f64: `(f64.reinterpret_i64 (i64.const ${bits}))`,
    };
    for (const type of ["f32", "f64"] as const) {
      const nan = operand[type];
      const zero = `(${type}.const 0)`;
      const made = [
        ...["add", "sub", "mul", "div", "min", "max"].map((op) => `(${type}.${op} ${nan} ${zero})`),
        ...["ceil", "floor", "trunc", "nearest", "sqrt"].map((op) => `(${type}.${op} ${nan})`),
        `(${type}.div ${zero} ${zero})`,
        `(${type}.sqrt (${type}.const -1))`,
        `(${type}.sub (${type}.const inf) (${type}.const inf))`,
        type === "f32" ? `(f32.demote_f64 ${operand.f64})` : `(f64.promote_f32 ${operand.f32})`,
      ];
      for (const one of made)
        expect([one, run(prepared(isCanonical(type, one)))]).toMatchObject([one, { result: 1 }]);
      // What only moves bits leaves them.
      const kept =
        type === "f32"
          ? `(i32.eq (i32.reinterpret_f32 ${nan}) (i32.const 0xffa00123))`
          : `(i64.eq (i64.reinterpret_f64 (f64.neg ${nan})) (i64.const 0xfff4000000000123))`;
      expect(run(prepared(kept))).toMatchObject({ result: 1 });
    }
  });
});

describe("a module is refused", () => {
  const plain = resolving("(i32.const 0)");

  test.each<[string, Uint8Array, string]>([
    ["of no bytes", new Uint8Array(), "does not begin"],
    ["of more bytes than may be", new Uint8Array(LIMITS.moduleBytes + 1), "the limit is 32768"],
    [
      "that imports",
      wat('(module (import "a" "b" (func)) (memory (export "memory") 1))'),
      "imports",
    ],
    ["with over 16 pages", resolving("(i32.const 0)", "", "17"), "17 pages"],
    ["with shared memory", resolving("(i32.const 0)", "", "1 1 shared"), "shared"],
    ["with SIMD", resolving("(i32x4.extract_lane 0 (i32x4.splat (i32.const 1)))"), "0xfd"],
    ["with threads", resolving("(i32.atomic.load (i32.const 0))"), "0xfe"],
    ["that changes its table", resolving("(table.size $t)", "(table $t 1 funcref)"), "0xfc 10"],
    ["with data for later", resolving("(data.drop $d) (i32.const 0)", '(data $d "a")'), "passive"],
    [
      "with a tail call",
      resolving("(return_call $f)", "(func $f (result i32) (i32.const 0))"),
      "0x12",
    ],
    ["with a reference", resolving("(ref.is_null (ref.null func))"), "0xd"],
    [
      "with several results",
      resolving("(call $f) (drop)", "(func $f (result i32 i32) (i32.const 0) (i32.const 0))"),
      "results",
    ],
    [
      "with a large table",
      resolving("(i32.const 0)", "(table 5000 funcref)"),
      "its table has 5000",
    ],
    ["without resolve and admit", withInterface(""), "neither resolve nor admit"],
    ["without alloc", wat('(module (memory (export "memory") 1))'), "does not export alloc"],
    [
      "that keeps its memory",
      wat('(module (memory 1) (func (export "alloc")))'),
      "does not export its memory",
    ],
    [
      "with another resolve",
      withInterface('(func (export "resolve") (param i64) (result i32) (i32.const 0))'),
      "resolve is not",
    ],
  ])("%s", (_, bytes, reason) => {
    expect(refusal(bytes)).toContain(reason);
    expect(refusal(bytes)).toMatch(/^module: byte \d+: /u);
  });

  test("whose code is not valid, whatever is not", () => {
    // The last instruction of `resolve`, i32.const 0, as i64.const 0.
    const wrong = plain.slice();
    wrong[wrong.lastIndexOf(0x41)] = 0x42;
    expect(refusal(wrong)).toContain("not valid");
    expect(refusal(plain)).toBe("taken");
  });

  test("or runs: nothing that is done to its bytes makes it do anything else", () => {
    const bytes = resolving(
      `(local $x f64) (local.set $x (f64.div (f64.load (i32.const 8)) (f64.const 0)))
       (block $a (block $b (br_table $a $b (i32.load (i32.const 1024)))) (drop (memory.grow (i32.const 1))))
       (if (result i32) (i32.load (i32.const 1024)) (then (call $f (i32.const 3))) (else (i32.trunc_sat_f64_s (local.get $x))))`,
      '(table 2 funcref) (elem (i32.const 0) $f $f) (global $g (mut i64) (i64.const 9)) (data (i32.const 8) "abcdefgh") (func $f (param i32) (result i32) (call_indirect (param i32) (result i32) (local.get 0) (i32.const 1)))',
    );
    const counts = { taken: 0, refused: 0 };
    const edit = fc.tuple(fc.nat({ max: bytes.length - 1 }), fc.integer({ min: 0, max: 255 }));
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 2 }), fc.nat(9), (edits, cut) => {
        const changed = bytes.slice(0, cut === 0 ? edits[0]?.[0] : undefined);
        for (const [at, byte] of edits) if (at < changed.length) changed[at] = byte;
        if (refusal(changed) !== "taken") {
          counts.refused++;
          return;
        }
        counts.taken++;
        const module = prepareModule(changed);
        const first = run(module);
        expect(run(module)).toEqual(first);
        expect(first.steps).toBeLessThanOrEqual(LIMITS.moduleSteps);
      }),
      { numRuns: 4_000 },
    );
    expect(Math.min(counts.taken, counts.refused)).toBeGreaterThan(200);
  });
});

describe("the input", () => {
  test("has each statement at its place, and its texts behind", () => {
    const writer = "0a".repeat(31) + "ff";
    const input = encodeInput("d/1", "kéy", [
      {
        clockMs: 1_700_000_000_123,
        writer,
        valueJson: "-2.5",
        confidence: 0.25,
        source: { model: "m", instance: "i" },
        tags: ["a", "é"],
      },
      { clockMs: 5, writer },
      ...["null", "false", "true", '"x"', "[1]", "{}"].map((valueJson) => ({
        clockMs: 1,
        writer,
        valueJson,
      })),
    ]);
    const bytes = input ?? new Uint8Array();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const word = (at: number): number => view.getUint32(at, true);
    const text = (at: number): string =>
      Buffer.from(bytes.subarray(word(at), word(at) + word(at + 4))).toString();
    expect([word(0), word(4), text(8), text(16)]).toEqual([1, 8, "d/1", "kéy"]);
    expect([24, 32, 40].map((at) => view.getFloat64(at, true))).toEqual([
      1_700_000_000_123, 0.25, -2.5,
    ]);
    expect([word(48), text(52), text(60), text(68), text(76), text(84)]).toEqual([
      4,
      "-2.5",
      "m",
      "",
      "i",
      "\u0001\0\0\0a\u0002\0\0\0é",
    ]);
    expect(Buffer.from(bytes.subarray(92, 124)).toString("hex")).toBe(writer);
    expect([
      view.getFloat64(128 + 8, true),
      view.getFloat64(128 + 16, true),
      text(128 + 28),
    ]).toEqual([1, 0, ""]);
    expect(Array.from({ length: 8 }, (_, i) => word(24 + 104 * i + 24))).toEqual([
      4, 0, 1, 2, 3, 5, 6, 7,
    ]);
  });

  test("is not made where it would be too long, by its length alone", () => {
    const writer = "00".repeat(32);
    const long = { clockMs: 0, writer, valueJson: JSON.stringify("é".repeat(30_000)) };
    const most = Math.floor((LIMITS.moduleInputBytes - 26) / (104 + 60_002));
    const many = (count: number): unknown =>
      encodeInput(
        "d",
        "k",
        Array.from({ length: count }, () => long),
      );
    expect(many(most)).toBeInstanceOf(Uint8Array);
    expect(many(most + 1)).toBeUndefined();
    expect(
      encodeInput(
        "d",
        "k",
        Array.from({ length: 6_000 }, () => ({ clockMs: 0, writer })),
      ),
    ).toBeUndefined();
  });
});
