// SPDX-License-Identifier: Apache-2.0
import { encodeCbor } from "@ctxmesh/codec";
import { MeshError, parseDeviceKey } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";
import { encodeAnswer } from "@ctxmesh/sync";
import type { Askable, AskOutcome } from "@ctxmesh/sync";
import { createSeededRandom, createVirtualClock } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { NodeLevels } from "../src/node-levels.ts";
import type { NodeLevelsOptions } from "../src/node-levels.ts";

const HUB: Askable = { device: parseDeviceKey("2".repeat(64)), role: "hub" };

/** What a strong write rejects with when the hub answers with these bytes. */
async function codeAfter(said: Uint8Array): Promise<MeshErrorCode> {
  const outcome: AskOutcome = { kind: "answer", answer: said };
  const write = { drafts: [{ key: "k", valueJson: "1" }] };
  const levels = new NodeLevels({
    replica: { proposals: { prepare: () => ({ write, key: "k", expected: null }) } },
    clock: createVirtualClock(1_000),
    random: createSeededRandom(1),
    remotes: { asker: { ask: async () => outcome }, freshness: { hubs: () => [HUB] } },
  } as unknown as NodeLevelsOptions);
  const writing = levels.compareAndSet("d", { key: "k", value: 1 }, null, {
    consistency: "strong",
  });
  return writing.then(
    () => expect.fail("was made"),
    (error: unknown) => (error as MeshError).code,
  );
}

const refused = (code: MeshErrorCode): Uint8Array =>
  encodeAnswer({ kind: "refused", error: new MeshError(code, "no") });

test.each<[string, Uint8Array, MeshErrorCode]>([
  ["a conflict", refused("VERSION_CONFLICT"), "VERSION_CONFLICT"],
  ["a refusal", refused("POLICY_REFUSED"), "POLICY_REFUSED"],
  ["that it does not know", refused("OUTCOME_UNKNOWN"), "OUTCOME_UNKNOWN"],
  ["a code of another version", encodeCbor([3, "TO_COME", "no", null]), "OUTCOME_UNKNOWN"],
  ["what another question asked for", encodeCbor([1, null]), "OUTCOME_UNKNOWN"],
  ["half of an answer", encodeCbor([2, 1]), "OUTCOME_UNKNOWN"],
  ["no answer at all", new Uint8Array(), "OUTCOME_UNKNOWN"],
])(
  "a strong write to which a hub answers %s was not made only if that says so",
  async (...given) => {
    const [, said, code] = given;
    expect(await codeAfter(said)).toBe(code);
  },
);
