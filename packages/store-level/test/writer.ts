// SPDX-License-Identifier: Apache-2.0
/**
 * A program that writes to the store named on its command line until it is killed: numbers from the
 * second argument on, several at a time, two keys each. It prints the number of every write that was
 * acknowledged, one per line.
 */
import { writeSync } from "node:fs";
import { openLevelStore } from "@ctxmesh/store-level";

const [, , path = "", start = "0"] = process.argv;
const WRITERS = 4;
const store = await openLevelStore({ path });
let next = Number(start);

async function writeOn(): Promise<never> {
  for (;;) {
    const number = next++;
    const value = new TextEncoder().encode(String(number));
    const keys = [`a-${String(number)}`, `b-${String(number)}`];
    await store.write(keys.map((key) => ({ key: new TextEncoder().encode(key), value })));
    writeSync(1, `${String(number)}\n`);
  }
}

await Promise.all(Array.from({ length: WRITERS }, writeOn));
