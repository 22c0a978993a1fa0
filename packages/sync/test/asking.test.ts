// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: a question gets its own answer or a word that there is none, no bytes of either hurt, and the heads that answers tell add up to all of them.
 * Method: random questions and answers there and back; sessions between replicas in memory, cut, silent or flooded; a decider
 * whose answers are read late, in another order, or never.
 */
import { encodeCbor } from "@ctxmesh/codec";
import {
  LIMITS,
  MeshError,
  parseDeviceKey,
  parseDocumentName,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type { Hlc, VisibleFact } from "@ctxmesh/model";
import { Decider, decodeAnswer, decodeQuestion, encodeAnswer, encodeQuestion } from "@ctxmesh/sync";
import type { Answer, AskOutcome, AskedBy, LogOfRecord, Question } from "@ctxmesh/sync";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { START_MS, createNode, createNodes, link, pass, settle, spaceOf } from "./mesh.ts";
import type { Node } from "./mesh.ts";
import { createVirtualClock } from "@ctxmesh/testing";

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const doc = fc.constantFrom("a", "line-2/press-7").map(parseDocumentName);
const hex = bytes(16).map(toHex);
const incarnation = hex.map(parseIncarnationId);
const fact = { version: "v", value: 1, ageMs: 5, contested: false } as unknown as VisibleFact;

const question: fc.Arbitrary<Question> = fc.oneof(
  fc.record(
    {
      kind: fc.constant("frontier" as const),
      since: fc.nat(),
      decides: fc.constant(true),
    },
    { requiredKeys: ["kind", "since"], noNullPrototype: true },
  ),
  fc.constant<Question>({ kind: "roster" }),
  fc.record({ kind: fc.constant("read" as const), doc, key: fc.string() }),
  fc.record({
    kind: fc.constant("set" as const),
    request: hex,
    doc,
    expected: fc.option(hex),
    fact: fc.uint8Array({ maxLength: 40 }),
    withinMs: fc.integer({ min: 1, max: 10_000 }),
  }),
);
const key = bytes(32).map((id) => parseDeviceKey(toHex(id)));
const moment = fc.integer({ min: START_MS, max: Number.MAX_SAFE_INTEGER });
const roster: fc.Arbitrary<Answer> = fc
  .record({
    kind: fc.constant("roster" as const),
    records: bytes(16),
    devices: fc.uniqueArray(
      fc.record({
        device: key,
        revoked: fc.boolean(),
        grants: fc.array(
          fc.record({
            role: fc.constantFrom("read", "append", "write", "manage"),
            notBefore: moment,
            notAfter: moment,
          }),
          { maxLength: 3 },
        ),
      }),
      { maxLength: 5, selector: ({ device }) => device },
    ),
    limits: fc.uniqueArray(fc.record({ replica: key, incarnation, seq: fc.integer({ min: 1 }) }), {
      maxLength: 5,
      selector: ({ replica }) => replica,
    }),
  })
  .map(({ devices, limits, ...rest }) => ({
    ...rest,
    devices: devices.toSorted((a, b) => (a.device < b.device ? -1 : 1)),
    limits: limits.toSorted((a, b) => (a.replica < b.replica ? -1 : 1)),
  }));
const answer: fc.Arbitrary<Answer> = fc.oneof(
  roster,
  fc.record({
    kind: fc.constant("frontier" as const),
    number: fc.integer({ min: 1 }),
    heads: fc.array(
      fc.record({
        replica: bytes(32).map((id) => parseDeviceKey(toHex(id))),
        incarnation,
        seq: fc.nat(),
      }),
      {
        maxLength: 5,
      },
    ),
  }),
  fc.constantFrom<Answer>({ kind: "read", fact: undefined }, { kind: "read", fact }),
  fc.record({
    kind: fc.constant("set" as const),
    hlc: fc.integer({ min: 1 }).map((hlc) => hlc as Hlc),
    incarnation,
    seq: fc.integer({ min: 1 }),
    version: hex,
  }),
  fc
    .tuple(
      fc.constantFrom("STALE" as const, "VERSION_CONFLICT" as const),
      fc.string(),
      fc.option(fc.string()),
    )
    .map(([code, message, remedy]): Answer => ({
      kind: "refused",
      error: new MeshError(code, message, remedy === null ? {} : { remedy }),
    })),
);
const CODES = new Set(["FORMAT_INVALID", "INPUT_INVALID", "LIMIT_EXCEEDED", "PROTOCOL_VIOLATION"]);
const outcomeOf = (decode: () => unknown): string => {
  try {
    decode();
    return "FORMAT_INVALID";
  } catch (error) {
    return error instanceof MeshError ? error.code : String(error);
  }
};

describe("on the wire", () => {
  test("questions and answers come back as they were", () => {
    fc.assert(
      fc.property(question, answer, (asked, said) => {
        expect(decodeQuestion(encodeQuestion(asked))).toEqual(asked);
        expect(decodeAnswer(encodeAnswer(said))).toEqual(said);
      }),
    );
  });

  test("with bytes changed, cut off or made up, they are read or refused with a code", () => {
    const broken = fc.oneof(
      fc.uint8Array({ maxLength: 80 }),
      fc
        .tuple(
          fc.oneof(question.map(encodeQuestion), answer.map(encodeAnswer)),
          fc.nat(),
          fc.nat(255),
        )
        .map(([good, at, flip]) =>
          good.map((byte, i) => (i === at % good.length ? byte ^ flip : byte)),
        ),
      fc
        .tuple(answer.map(encodeAnswer), fc.nat())
        .map(([good, end]) => good.slice(0, end % good.length)),
    );
    fc.assert(
      fc.property(broken, (noise) => {
        expect(CODES).toContain(outcomeOf(() => decodeQuestion(noise)));
        expect(CODES).toContain(outcomeOf(() => decodeAnswer(noise)));
      }),
      { numRuns: 2_000 },
    );
  });

  test("the heads of a frontier of the greatest size fit into an answer", () => {
    const heads = Array.from({ length: LIMITS.frontierHeads }, (_, i) => ({
      replica: i.toString(16).padStart(64, "f") as Node["replica"]["device"],
      incarnation: parseIncarnationId(i.toString(16).padStart(32, "f")),
      seq: 4_294_967_295,
    }));
    const wire = encodeAnswer({ kind: "frontier", number: 1, heads });
    expect(wire.length).toBeLessThan(LIMITS.askBytes);
    expect(decodeAnswer(wire)).toMatchObject({ heads });
  });
});

describe("a roster", () => {
  test("that does not ascend is refused", () => {
    const [one, two] = ["aa", "bb"].map((byte) => ({
      device: parseDeviceKey(byte.repeat(32)),
      revoked: false,
      grants: [],
    }));
    if (one === undefined || two === undefined) throw new Error("no devices");
    const of = (devices: readonly (typeof one)[]): Uint8Array =>
      encodeAnswer({ kind: "roster", records: new Uint8Array(16), devices, limits: [] });
    expect(decodeAnswer(of([one, two]))).toMatchObject({ devices: [one, two] });
    for (const wrong of [
      [two, one],
      [one, one],
    ]) {
      expect(() => decodeAnswer(of(wrong))).toThrow("does not ascend");
    }
  });

  test("that is too large for an answer is refused, saying so", async () => {
    const limits = Array.from({ length: 19_000 }, (_, i) => ({
      replica: parseDeviceKey(i.toString(16).padStart(64, "f")),
      incarnation: parseIncarnationId("0".repeat(32)),
      seq: 1,
    }));
    const clock = createVirtualClock(START_MS);
    const { replica } = await createNode(0, { space: spaceOf([0]), clock });
    const large = { ...replica.roster(), limits };
    const decider = new Decider({
      replica: Object.assign(Object.create(replica) as typeof replica, { roster: () => large }),
      clock,
    });
    const said = await decider.answer(encodeQuestion({ kind: "roster" }), {} as AskedBy);
    expect(decodeAnswer(said)).toMatchObject({
      kind: "refused",
      error: { code: "LIMIT_EXCEEDED", message: expect.stringContaining("askBytes") as string },
    });
  });

  test("is told by agents and hubs alike", async () => {
    const clock = createVirtualClock(START_MS);
    const { replica } = await createNode(0, { space: spaceOf([0, 1]), clock });
    const { answer: answers } = new Decider({ replica, clock });
    const said = decodeAnswer(await answers(encodeQuestion({ kind: "roster" }), {} as AskedBy));
    const { records, ...rest } = replica.roster();
    expect(said).toEqual({ kind: "roster", records: records.subarray(0, 16), ...rest });
    expect(rest.devices).toHaveLength(2);
  });
});

/** A hub that answers as told, and an agent connected to it. */
async function pairOf(
  answers: (question: Uint8Array, by: AskedBy) => Promise<Uint8Array>,
): Promise<{
  readonly ask: (text: string, withinMs?: number) => Promise<AskOutcome>;
  readonly pass: (ms: number) => Promise<void>;
  readonly cut: () => void;
  readonly agent: Node;
}> {
  const clock = createVirtualClock(START_MS);
  const space = spaceOf([0, 1]);
  const hub = await createNode(0, { role: "hub", space, clock, answers });
  const agent = await createNode(1, { space, clock });
  const { cut } = link(hub, agent);
  await settle();
  const ask = async (text: string, withinMs = 1_000): Promise<AskOutcome> => {
    const [remote] = agent.sync.asker.remotes();
    if (remote === undefined) throw new Error("nobody to ask");
    return agent.sync.asker.ask(remote, new TextEncoder().encode(text), { withinMs });
  };
  return { ask, agent, cut, pass: async (ms) => pass([hub, agent], clock, ms / 50) };
}

const textOf = (outcome: AskOutcome): string =>
  outcome.kind === "answer" ? new TextDecoder().decode(outcome.answer) : outcome.kind;

describe("a question", () => {
  test("gets its own answer, in whatever order they come, and the hub knows who asks", async () => {
    const held: (() => void)[] = [];
    const { ask, agent } = await pairOf(async (asked, by) => {
      await new Promise<void>((resolve) => held.push(resolve));
      expect(by.device).toBe(agent.replica.device);
      return asked;
    });
    const asking = ["one", "two", "three"].map(async (text) => textOf(await ask(text)));
    await settle();
    for (const answerNow of held.toReversed()) {
      answerNow();
      await settle();
    }
    expect(await Promise.all(asking)).toEqual(["one", "two", "three"]);
  });

  test("without an answer in time is late, and one whose answer comes later disturbs nobody", async () => {
    const held = Promise.withResolvers<void>();
    const { ask, pass: passMs } = await pairOf(async (asked) => {
      if (new TextDecoder().decode(asked) === "slow") await held.promise;
      return asked;
    });
    const slow = ask("slow", 500);
    await passMs(600);
    expect(textOf(await slow)).toBe("late");
    held.resolve();
    await settle();
    expect(textOf(await ask("quick"))).toBe("quick");
  });

  test("of a remote that goes is over at once, and so is every other one", async () => {
    const { ask, cut, agent } = await pairOf(async () => new Promise(() => undefined));
    const asking = [ask("a"), ask("b")];
    await settle();
    cut();
    await settle();
    expect((await Promise.all(asking)).map(textOf)).toEqual(["gone", "gone"]);
    expect(agent.sync.asker.remotes()).toEqual([]);
  });

  test("beyond those that a remote may have to answer is not asked", async () => {
    const { ask } = await pairOf(async () => new Promise(() => undefined));
    for (let i = 0; i < LIMITS.asksPerRemote; i++) void ask(String(i));
    expect(textOf(await ask("one more"))).toBe("unasked");
  });

  test("to a node that answers none is refused, and costs the session nothing", async () => {
    const { nodes } = await createNodes(2, 1);
    const [hub, agent] = nodes as [Node, Node];
    link(hub, agent);
    await settle();
    const [remote] = agent.sync.asker.remotes();
    const asked = encodeQuestion({ kind: "frontier", since: 0 });
    const outcome = remote && (await agent.sync.asker.ask(remote, asked, { withinMs: 1_000 }));
    const said = outcome?.kind === "answer" ? decodeAnswer(outcome.answer) : undefined;
    expect(said).toMatchObject({ kind: "refused", error: { code: "POLICY_REFUSED" } });
    expect(agent.sync.peers()).toHaveLength(1);
  });
});

const whole: LogOfRecord = {
  current: async () => Promise.resolve(),
  assertWhole: async () => Promise.resolve(),
  assertDecides: async () => Promise.resolve(),
};

describe("a decider", () => {
  test("tells of all heads that an asker does not know of, whichever of its answers got lost or came in another order", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ writes: fc.nat(3), fate: fc.constantFrom("read", "lost", "late") }), {
          maxLength: 12,
        }),
        async (rounds) => {
          const { nodes, clock } = await createNodes(3, 1);
          const [hub, ...agents] = nodes as [Node, ...Node[]];
          const decider = new Decider({ replica: hub.replica, clock, log: whole });
          const by: AskedBy = {
            device: agents[0]?.replica.device ?? hub.replica.device,
            role: "agent",
          };
          const known = new Map<string, number>();
          let number = 0;
          const take = (wire: Uint8Array): void => {
            const said = decodeAnswer(wire);
            if (said.kind !== "frontier") throw new Error(said.kind);
            number = Math.max(number, said.number);
            for (const { replica, incarnation: life, seq } of said.heads) {
              known.set(replica + life, Math.max(seq, known.get(replica + life) ?? 0));
            }
          };
          let late: Uint8Array | undefined;
          for (const [i, { writes, fate }] of rounds.entries()) {
            for (let n = 0; n < writes; n++) {
              const from = agents[(i + n) % agents.length];
              from?.replica.onApplied(({ bytes: batch }) => void hub.replica.receive(batch));
              await from?.put(`key-${String(i)}`, String(n));
            }
            await settle();
            const wire = await decider.answer(
              encodeQuestion({ kind: "frontier", since: number }),
              by,
            );
            if (late !== undefined) take(late);
            late = fate === "late" ? wire : undefined;
            if (fate !== "read") continue;
            take(wire);
            const all = hub.replica
              .heads()
              .map((head) => [head.replica + head.incarnation, head.seq]);
            expect(Object.fromEntries(known)).toEqual(Object.fromEntries(all));
          }
        },
      ),
      { numRuns: 25 },
    );
  });

  test("of an agent decides nothing, and one whose log can't be read says why", async () => {
    const { nodes, clock } = await createNodes(1);
    const [node] = nodes as [Node];
    const by: AskedBy = { device: node.replica.device, role: "agent" };
    const read = encodeQuestion({ kind: "read", doc: parseDocumentName("d"), key: "k" });
    const codeOf = async (decider: Decider, asked: Uint8Array): Promise<unknown> => {
      const said = decodeAnswer(await decider.answer(asked, by));
      return said.kind === "refused" ? said.error.code : said.kind;
    };
    const agent = new Decider({ replica: node.replica, clock });
    expect(await codeOf(agent, read)).toBe("POLICY_REFUSED");
    expect(await codeOf(agent, encodeQuestion({ kind: "frontier", since: 0 }))).toBe("frontier");
    const strong = encodeQuestion({ kind: "frontier", since: 0, decides: true });
    expect(await codeOf(agent, strong)).toBe("POLICY_REFUSED");
    expect(await codeOf(agent, encodeCbor([0, 0, false]))).toBe("PROTOCOL_VIOLATION");
    expect(await codeOf(agent, Uint8Array.of(1))).toBe("PROTOCOL_VIOLATION");
    const away = {
      ...whole,
      current: async () => Promise.reject(new MeshError("ENGINE_UNAVAILABLE", "away")),
    };
    const hub = new Decider({ replica: node.replica, clock, log: away });
    expect(await codeOf(hub, read)).toBe("ENGINE_UNAVAILABLE");
  });
});
