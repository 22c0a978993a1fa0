// SPDX-License-Identifier: Apache-2.0
/** Goal: what anti-entropy costs does not grow with every incarnation that ever wrote. */
import { parseDeviceKey, parseIncarnationId, parseSpaceId } from "@ctxmesh/model";
import { initialState, step } from "@ctxmesh/sync";
import type { ChainHead, LocalView, SessionState, SyncMessage } from "@ctxmesh/sync";
import { expect, test } from "vitest";

const replica = parseDeviceKey("a".repeat(64));
const space = parseSpaceId("b".repeat(64));
const chain = (n: number, seq: number): ChainHead => ({
  replica,
  incarnation: parseIncarnationId(n.toString(16).padStart(32, "0")),
  seq,
  hash: seq.toString(16).padStart(32, "0"),
});
const otherDigest = new Uint8Array(32).fill(1);
const records = new Uint8Array(32);

const viewOf = (heads: readonly ChainHead[]): LocalView => ({
  space,
  digest: () => new Uint8Array(32),
  heads: () => heads,
  headOf: () => undefined,
  limitOf: () => Number.POSITIVE_INFINITY,
  recordsDigest: () => records,
  recordIds: () => ({ acts: [], forks: [] }),
  vouches: false,
  sealed: () => [],
});

function receive(
  state: SessionState,
  message: SyncMessage,
  heads: readonly ChainHead[],
): {
  readonly state: SessionState;
  readonly told: readonly ChainHead[];
} {
  const next = step(state, { type: "message", message }, viewOf(heads));
  const told = next.effects.flatMap((effect) =>
    effect.type === "send" && effect.message.type === "heads" ? effect.message.heads : [],
  );
  return { state: next.state, told };
}

test("heads are told once: when digests differ again, only what has moved since", () => {
  const heads = Array.from({ length: 2000 }, (_, n) => chain(n, 1));
  const first = receive(
    initialState,
    { type: "hello", space, digest: otherDigest, records },
    heads,
  );
  expect(first.told).toEqual(heads);
  const moved = [chain(7, 3), chain(5000, 1)];
  const later = [...heads.filter((_, n) => n !== 7), ...moved];
  const second = receive(first.state, { type: "digest", digest: otherDigest, records }, later);
  expect(second.told).toEqual(moved);
  expect(
    receive(second.state, { type: "digest", digest: otherDigest, records }, later).told,
  ).toEqual([]);
});

test("an answer without news is still a message, since it makes the remote pull again", () => {
  const { state } = receive(
    initialState,
    { type: "hello", space, digest: otherDigest, records },
    [],
  );
  const message: SyncMessage = { type: "digest", digest: otherDigest, records };
  const { effects } = step(state, { type: "message", message }, viewOf([]));
  expect(effects).toEqual([{ type: "send", message: { type: "heads", heads: [] } }]);
});
