// SPDX-License-Identifier: Apache-2.0
import { Inbox } from "@ctxmesh/channel";
import { LIMITS } from "@ctxmesh/model";
import fc from "fast-check";
import { expect, test } from "vitest";

const nothing = (): void => undefined;
const message = (id: number, length = 4): Uint8Array => new Uint8Array(length).fill(id);

test("whatever the interleaving of pushes and reads, messages come out once and in order", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.boolean(), { maxLength: 60 }), async (turns) => {
      const inbox = new Inbox(nothing);
      const reader = inbox.drain();
      const read: Promise<IteratorResult<Uint8Array, void>>[] = [];
      let pushed = 0;
      for (const push of turns) {
        if (push) inbox.push(message(pushed++));
        else read.push(reader.next());
      }
      inbox.end(false);
      for (let i = read.length; i <= pushed; i++) read.push(reader.next());
      const results = await Promise.all(read);
      const values = results.filter(({ done }) => done !== true).map(({ value }) => value?.[0]);
      expect(values).toEqual(Array.from({ length: pushed }, (_, i) => i));
      expect(results.at(-1)?.done).toBe(true);
    }),
  );
});

test("it is full from one message of the largest size until the reader has drained it to the low mark", async () => {
  let resumed = 0;
  const inbox = new Inbox(() => {
    if (!inbox.full) resumed++;
  });
  for (let i = 0; i < 4; i++) {
    expect(inbox.full).toBe(false);
    inbox.push(message(i, LIMITS.syncMessageBytes / 4));
  }
  expect(inbox.full).toBe(true);
  const reader = inbox.drain();
  for (let i = 0; i < 4; i++) await reader.next();
  expect(resumed).toBeGreaterThan(0);
  expect(inbox.full).toBe(false);
});

test("a flood of empty messages counts, too", () => {
  const inbox = new Inbox(nothing);
  for (let i = 0; i < 200_000 && !inbox.overflown; i++) inbox.push(new Uint8Array());
  expect(inbox.overflown).toBe(true);
});

test("ending with discard drops what is queued, and nothing comes in afterwards", async () => {
  const inbox = new Inbox(nothing);
  inbox.push(message(1));
  inbox.end(true);
  inbox.push(message(2));
  expect((await inbox.drain().next()).done).toBe(true);
});
