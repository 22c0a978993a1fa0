// SPDX-License-Identifier: Apache-2.0
/** Faults to plant in a writer, which the harnesses must find. They stand for nothing that the store does. */
import { Level } from "level";
import type { Store } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";

function wrapStore(wrap: (store: Store) => Store): void {
  const open = Replica.open.bind(Replica);
  Replica.open = async (options) => open({ ...options, store: wrap(options.store) });
}

/** A store that differs in how it writes. */
const withWrite = (store: Store, write: Store["write"]): Store => ({
  write,
  get: async (key) => store.get(key),
  scan: (range) => store.scan(range),
  close: async () => store.close(),
});

type Write = (this: unknown, ...args: unknown[]) => Promise<void>;

/** Every fault, with how it is planted. */
export const FAULTS = {
  /** Acknowledges a write when the next one comes. */
  "early acknowledgement": () => {
    wrapStore((store) => {
      let waiting: (() => Promise<void>) | undefined;
      return withWrite(store, async (changes) => {
        const previous = waiting;
        waiting = async () => store.write(changes);
        await previous?.();
      });
    });
  },
  /** Leaves the bytes of a write to the operating system. */
  "no sync": () => {
    for (const name of ["_put", "_batch"] as const) {
      const database = Level.prototype as unknown as Record<typeof name, Write>;
      const write = database[name];
      database[name] = async function (this: unknown, ...args) {
        const options = args.pop() as object;
        return Reflect.apply(write, this, [...args, { ...options, sync: false }]);
      };
    }
  },
  /** Writes half of the records of a group, and then the others. */
  "group in two parts": () => {
    wrapStore((store) =>
      withWrite(store, async (changes) => {
        const half = Math.ceil(changes.length / 2);
        await store.write(changes.slice(0, half));
        await store.write(changes.slice(half));
      }),
    );
  },
} satisfies Record<string, () => void>;

/** One of {@link FAULTS}. */
export type Fault = keyof typeof FAULTS;
