// SPDX-License-Identifier: Apache-2.0
/** Goal: what anti-entropy costs does not grow with every incarnation that ever wrote. */
import { parseDeviceKey, parseIncarnationId, parseSpaceId } from "@ctxmesh/model";
import { initialState, step } from "@ctxmesh/sync";
import type { ChainSeq, LocalView, SessionState, SyncMessage } from "@ctxmesh/sync";
import { expect, test } from "vitest";

const replica = parseDeviceKey("a".repeat(64));
const space = parseSpaceId("b".repeat(64));
const chain = (n: number, seq: number): ChainSeq => ({
  replica,
  incarnation: parseIncarnationId(n.toString(16).padStart(32, "0")),
  seq,
});
const otherDigest = new Uint8Array(32).fill(1);

function receive(
  state: SessionState,
  message: SyncMessage,
  heads: readonly ChainSeq[],
): {
  readonly state: SessionState;
  readonly told: readonly ChainSeq[];
} {
  const view: LocalView = {
    space,
    digest: () => new Uint8Array(32),
    heads: () => heads,
    seqOf: () => 0,
  };
  const next = step(state, { type: "message", message }, view);
  const told = next.effects.flatMap((effect) =>
    effect.type === "send" && effect.message.type === "heads" ? effect.message.heads : [],
  );
  return { state: next.state, told };
}

test("heads are told once: when digests differ again, only what has moved since", () => {
  const heads = Array.from({ length: 2000 }, (_, n) => chain(n, 1));
  const first = receive(initialState, { type: "hello", space, digest: otherDigest }, heads);
  expect(first.told).toEqual(heads);
  const moved = [chain(7, 3), chain(5000, 1)];
  const later = [...heads.filter((_, n) => n !== 7), ...moved];
  const second = receive(first.state, { type: "digest", digest: otherDigest }, later);
  expect(second.told).toEqual(moved);
  expect(receive(second.state, { type: "digest", digest: otherDigest }, later).told).toEqual([]);
});

test("an answer without news is still a message, since it makes the remote pull again", () => {
  const { state } = receive(initialState, { type: "hello", space, digest: otherDigest }, []);
  const view: LocalView = {
    space,
    digest: () => new Uint8Array(32),
    heads: () => [],
    seqOf: () => 0,
  };
  const message: SyncMessage = { type: "digest", digest: otherDigest };
  const { effects } = step(state, { type: "message", message }, view);
  expect(effects).toEqual([{ type: "send", message: { type: "heads", heads: [] } }]);
});
