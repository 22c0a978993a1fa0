// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: no bytes crash a replica, stop it, or are applied in part.
 * Method: the fuzzer of scripts/fuzz, as `npm run fuzz` runs it. That it would see a defect is shown by planting
 * some in the replica that it plays with.
 */
import { decodeBatch, decodeBody } from "@ctxmesh/codec";
import { decodeFrame } from "@ctxmesh/facts";
import type { Replica } from "@ctxmesh/replica";
import { RichDocument } from "@ctxmesh/rich";
import { execFile } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, describe, expect, test, vi } from "vitest";
import { runInputs } from "../scripts/fuzz/run.ts";
import type { Result } from "../scripts/fuzz/run.ts";
import type { Wrap } from "../scripts/fuzz/round.ts";

const INPUTS = 60_000;
const MINUTES = 60_000;
const run = promisify(execFile);
const root = fileURLToPath(new URL("..", import.meta.url));

const fuzz = async (...args: string[]): Promise<Result> => {
  const main = ["--conditions=@ctxmesh/source", "scripts/fuzz/main.ts"];
  const { stdout } = await run(process.execPath, [...main, ...args, "--json"], { cwd: root });
  return JSON.parse(stdout) as Result;
};

const plan = (wrap?: Wrap) => ({
  seed: 1,
  from: 0,
  to: 5_000,
  part: 0,
  parts: 1,
  ...(wrap === undefined ? {} : { wrap }),
});

/** A replica whose `receive` is another one. */
const withReceive =
  (receive: (replica: Replica, bytes: Uint8Array) => ReturnType<Replica["receive"]>): Wrap =>
  (replica) =>
    new Proxy(replica, {
      get(target, name) {
        if (name === "receive") return (bytes: Uint8Array) => receive(target, bytes);
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === "function" ? (value.bind(target) as unknown) : value;
      },
    });

/** Each with what the fuzzer has to say of it. */
const DEFECTS: readonly (readonly [
  name: string,
  problem: RegExp,
  plant: () => Wrap | undefined,
])[] = [
  [
    "a replica that keeps the good facts of a bad batch",
    /partly applied/u,
    () =>
      withReceive(async (replica, bytes) => {
        const outcome = await replica.receive(bytes);
        if (outcome.kind !== "refused" || outcome.reason !== "rich") return outcome;
        const { header, bodies } = decodeBatch(bytes);
        for (const [i, { kind, doc }] of header.sections.entries()) {
          if (kind !== "facts") continue;
          const { records } = decodeFrame(decodeBody(bodies[i] ?? new Uint8Array()));
          await replica.put(
            doc,
            records.slice(0, 1).map(({ key }) => ({ key, value: 1 })),
          );
        }
        return outcome;
      }),
  ],
  [
    "a rich update that is applied when it is checked",
    /staged twice|partly applied|stopped on/u,
    () => {
      const check = Object.getOwnPropertyDescriptor(RichDocument.prototype, "check")
        ?.value as RichDocument["check"];
      vi.spyOn(RichDocument.prototype, "check").mockImplementation(function (
        this: RichDocument,
        bytes,
        interval,
      ) {
        const verdict = check.call(this, bytes, interval);
        if (verdict.kind === "ready") {
          this.stage(verdict.update);
          this.apply(verdict.update);
        }
        return verdict;
      });
      return undefined;
    },
  ],
  [
    "a receive that throws",
    /planted/u,
    () =>
      withReceive(async (replica, bytes) => {
        if (bytes.length % 97 === 0) throw new RangeError("planted");
        return replica.receive(bytes);
      }),
  ],
  [
    "a batch that is counted twice",
    /not accounted for/u,
    () => {
      let extra = 0;
      return (replica) =>
        new Proxy(
          withReceive(async (target, bytes) => {
            const outcome = await target.receive(bytes);
            if (outcome.kind === "held") extra++;
            return outcome;
          })(replica),
          {
            get(target, name) {
              const value: unknown = Reflect.get(target, name, target);
              if (name !== "counters") return value;
              return () => ({ ...target.counters(), held: target.counters().held + extra });
            },
          },
        );
    },
  ],
  [
    "a replica that differs from the next one",
    /second replica/u,
    () =>
      withReceive(async (replica, bytes) => {
        const outcome = await replica.receive(bytes);
        if (outcome.kind === "accepted") await replica.put("x" as never, [{ key: "k", value: 1 }]);
        return outcome;
      }),
  ],
];

describe("within 5,000 inputs the fuzzer finds", () => {
  afterEach(() => {
    vi.restoreAllMocks();
  });

  test.each(DEFECTS)("%s", async (_, problem, plant) => {
    const wrap = plant();
    const { violation } = await runInputs(plan(wrap));
    expect(violation?.problem).toMatch(problem);
  });
});

test("a seed gives the same inputs and outcomes every time, and the next one others", async () => {
  const short = { ...plan(), to: 1_500 };
  const [first, again] = [await runInputs(short), await runInputs(short)];
  expect(again.outcomes).toEqual(first.outcomes);
  expect((await runInputs({ ...short, seed: 2 })).outcomes).not.toEqual(first.outcomes);
});

test("an input is played alone as it was in its run", async () => {
  const seen: Uint8Array[] = [];
  const onInput = (input: number, bytes: Uint8Array): void => {
    if (input === 777) seen.push(bytes);
  };
  await runInputs({ ...plan(), to: 1_000, onInput });
  await runInputs({ ...plan(), from: 750, to: 778, onInput });
  expect(seen).toHaveLength(2);
  expect(seen[1]).toEqual(seen[0]);
});

test(
  `${String(INPUTS)} inputs break no rule`,
  async () => {
    const { inputs, outcomes, violation } = await fuzz("--inputs", String(INPUTS));
    expect(violation).toBeUndefined();
    expect(inputs).toBe(INPUTS);
    // The mutations get past every check, and far enough.
    const reasons = [
      "shape",
      "grant",
      "chain",
      "signature",
      "body",
      "facts",
      "rich",
      "equivocation",
    ];
    const most = [
      ...reasons.map((reason) => `receive: refused ${reason}`),
      "receive: accepted",
      "receive: held missing",
      "rich update: accepted",
      "message: refused",
      "act: refused",
      "proof: refused",
      "order: the same",
    ];
    for (const outcome of most)
      expect([outcome, (outcomes[outcome] ?? 0) > 50]).toEqual([outcome, true]);
  },
  10 * MINUTES,
);

test("a wrong command line is told apart", async () => {
  await expect(fuzz("--inputs", "many")).rejects.toMatchObject({ code: 3 });
});
