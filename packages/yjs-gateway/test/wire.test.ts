// SPDX-License-Identifier: Apache-2.0
/** Goal: what is written is what y-protocols writes and reads, and nothing else is read. Method: its own functions as the reference, and random bytes. */
import * as encoding from "lib0/encoding";
import { MeshError } from "@ctxmesh/model";
import fc from "fast-check";
import { expect, test } from "vitest";
import * as authProtocol from "y-protocols/auth";
import * as awarenessProtocol from "y-protocols/awareness";
import * as syncProtocol from "y-protocols/sync";
import * as Y from "yjs";
import * as decoding from "lib0/decoding";
import {
  awarenessMessage,
  deniedMessage,
  KEEP_ALIVE,
  parseClientMessage,
  stepOne,
  stepTwo,
  updateMessage,
} from "../src/wire.ts";

const written = (write: (encoder: encoding.Encoder) => void): Uint8Array => {
  const encoder = encoding.createEncoder();
  write(encoder);
  return encoding.toUint8Array(encoder);
};

const doc = new Y.Doc();
doc.getText("note").insert(0, "hello ".repeat(40));
const update = Y.encodeStateAsUpdate(doc);
const stateVector = Y.encodeStateVector(doc);

const entries = fc.array(
  fc.record({
    client: fc.nat({ max: 2 ** 32 - 1 }),
    clock: fc.maxSafeNat(),
    state: fc.json(),
  }),
  { maxLength: 8 },
);

/** What y-protocols writes of the same. */
function awarenessOf(
  list: readonly { client: number; clock: number; state: string }[],
): Uint8Array {
  return written((encoder) => {
    encoding.writeVarUint(encoder, 1);
    const inner = written((body) => {
      encoding.writeVarUint(body, list.length);
      for (const { client, clock, state } of list) {
        encoding.writeVarUint(body, client);
        encoding.writeVarUint(body, clock);
        encoding.writeVarString(body, state);
      }
    });
    encoding.writeVarUint8Array(encoder, inner);
  });
}

const head = (encoder: encoding.Encoder): void => encoding.writeVarUint(encoder, 0);

test("messages of sync are those of y-protocols", () => {
  const one = written((encoder) => {
    head(encoder);
    syncProtocol.writeSyncStep1(encoder, doc);
  });
  const two = written((encoder) => {
    head(encoder);
    syncProtocol.writeSyncStep2(encoder, doc);
  });
  const three = written((encoder) => {
    head(encoder);
    syncProtocol.writeUpdate(encoder, update);
  });
  expect([stepOne(stateVector), stepTwo(update), updateMessage(update)]).toEqual([one, two, three]);
  expect(parseClientMessage(one)).toEqual({ kind: "step1", stateVector });
  expect(parseClientMessage(two)).toEqual({ kind: "update", update });
  expect(parseClientMessage(three)).toEqual({ kind: "update", update });
  expect(parseClientMessage(Uint8Array.of(3))).toEqual({ kind: "query" });
});

test("a refusal is what y-protocols reads as one", () => {
  const decoder = decoding.createDecoder(deniedMessage("no, über"));
  expect(decoding.readVarUint(decoder)).toBe(2);
  const reasons: string[] = [];
  authProtocol.readAuthMessage(decoder, doc, (_, reason) => reasons.push(reason));
  expect(reasons).toEqual(["no, über"]);
});

test("awareness is written as y-protocols does, and read back", () => {
  fc.assert(
    fc.property(entries, (list) => {
      expect(awarenessMessage(list)).toEqual(awarenessOf(list));
      expect(parseClientMessage(awarenessOf(list))).toEqual({ kind: "awareness", entries: list });
    }),
  );
});

test("the message that keeps a connection alive changes nothing at a client", () => {
  const awareness = new awarenessProtocol.Awareness(new Y.Doc());
  const before = [...awareness.getStates()];
  const decoder = decoding.createDecoder(KEEP_ALIVE);
  expect(decoding.readVarUint(decoder)).toBe(1);
  awarenessProtocol.applyAwarenessUpdate(awareness, decoding.readVarUint8Array(decoder), "test");
  expect([...awareness.getStates()]).toEqual(before);
  awareness.destroy();
});

const reencode = (message: ReturnType<typeof parseClientMessage>): Uint8Array[] => {
  switch (message.kind) {
    case "step1":
      return [stepOne(message.stateVector)];
    case "update":
      return [stepTwo(message.update), updateMessage(message.update)];
    case "awareness":
      return [awarenessMessage(message.entries)];
    case "query":
      return [Uint8Array.of(3)];
  }
};

/** What becomes of bytes: what was read of them, written anew, or the code of the refusal. */
function fateOf(bytes: Uint8Array): readonly (Uint8Array | string)[] {
  try {
    return reencode(parseClientMessage(bytes));
  } catch (error) {
    return [error instanceof MeshError ? error.code : String(error)];
  }
}

test("whatever is read is exactly one message in its one form; all else is refused as such", () => {
  const nearly = fc
    .tuple(entries.map(awarenessOf), fc.nat(), fc.nat({ max: 255 }), fc.boolean())
    .map(([bytes, at, byte, cut]) =>
      cut ? bytes.slice(0, at % bytes.length) : bytes.with(at % bytes.length, byte),
    );
  const short = fc
    .uint8Array({ minLength: 1, maxLength: 40 })
    .map((bytes) => bytes.with(0, (bytes[0] ?? 0) % 5));
  fc.assert(
    fc.property(fc.oneof(nearly, short), (bytes) => {
      const fate = fateOf(bytes);
      expect(fate[0] === "FORMAT_INVALID" ? [bytes] : fate).toContainEqual(bytes);
    }),
    { numRuns: 2_000 },
  );
});
