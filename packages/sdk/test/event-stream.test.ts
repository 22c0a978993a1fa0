// SPDX-License-Identifier: Apache-2.0
import { LIMITS } from "@ctxmesh/model";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { parseEventStream } from "../src/event-stream.ts";
import type { StreamEvent } from "../src/event-stream.ts";

async function* chunksOf(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b);
  let start = 0;
  for (const end of [...ends, bytes.length]) {
    yield bytes.subarray(start, end);
    start = end;
  }
}

async function read(text: string, cuts: readonly number[]): Promise<(StreamEvent | undefined)[]> {
  const events: (StreamEvent | undefined)[] = [];
  for await (const event of parseEventStream(chunksOf(Buffer.from(text), cuts))) events.push(event);
  return events;
}

const data = fc.jsonValue({ stringUnit: "grapheme" }).map((value) => JSON.stringify(value));

test("the events do not depend on where the chunks are cut, not even inside a character", async () => {
  const item = fc.oneof(
    fc.record({ event: fc.constantFrom("change", "error"), data }),
    fc.constant(undefined),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(item), fc.array(fc.nat()), async (items, cuts) => {
      const text = items
        .map((event) =>
          event === undefined
            ? ": keep-alive\n\n"
            : `event: ${event.event}\ndata: ${event.data}\n\n`,
        )
        .join("");
      expect(await read(text, cuts)).toEqual(items);
    }),
  );
});

test("an event without its closing blank line is not delivered", async () => {
  expect(await read('event: change\ndata: {"a":1}\n', [])).toEqual([]);
});

test("a line without end is refused before it fills the memory", async () => {
  let sent = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    const chunk = Buffer.alloc(1_000_000, "x");
    for (;;) {
      sent += chunk.length;
      yield chunk;
    }
  }
  const reading = (async () => {
    for await (const event of parseEventStream(endless())) expect(event).toBeUndefined();
  })();
  await expect(reading).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  expect(sent).toBeLessThan(LIMITS.requestBytes + 2_000_000);
});
