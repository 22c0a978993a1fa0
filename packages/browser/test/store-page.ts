// SPDX-License-Identifier: Apache-2.0
/** What the page of store.test.ts does: calls of the port `Store`, with bytes as arrays of numbers. */
import { MeshError } from "@ctxmesh/model";
import { deleteDatabase, openDatabase } from "../src/database.ts";
import type { Entry } from "../src/scan-view.ts";
import { IndexedStore } from "../src/store.ts";

type Bytes = readonly number[];
interface Range {
  readonly gte: Bytes;
  readonly lt: Bytes;
  readonly reverse?: boolean;
  readonly limit?: number;
}

const stores = new Map<string, IndexedStore>();
const databases = new Map<string, IDBDatabase>();
const scans: AsyncIterator<Entry>[] = [];
const bytes = (numbers: Bytes): Uint8Array => Uint8Array.from(numbers);

const storeOf = (name: string): IndexedStore => {
  const store = stores.get(name);
  if (store === undefined) throw new Error(`no store ${name} is open`);
  return store;
};

const CALLS = {
  async open(name: string) {
    const database = await openDatabase(name);
    databases.set(name, database);
    stores.set(name, new IndexedStore(database));
  },
  /** Makes the next write fail, as it does when there is no room. */
  async failOnce(name: string) {
    const database = databases.get(name);
    if (database === undefined) throw new Error(`no store ${name} is open`);
    database.transaction = () => {
      Reflect.deleteProperty(database, "transaction");
      throw new DOMException("no room", "QuotaExceededError");
    };
  },
  /** Makes the browser refuse to take a value of one byte, in the middle of a write. */
  async refuseShort() {
    const { put } = IDBObjectStore.prototype;
    IDBObjectStore.prototype.put = function refusing(
      value: Uint8Array,
      key,
    ): IDBRequest<IDBValidKey> {
      if (value.length !== 1) return put.call(this, value, key);
      IDBObjectStore.prototype.put = put;
      throw new DOMException("too large", "DataCloneError");
    };
  },
  remove: async (name: string) => deleteDatabase(name),
  write: async (
    name: string,
    changes: readonly { readonly key: Bytes; readonly value?: Bytes }[],
  ) =>
    storeOf(name).write(
      changes.map(({ key, value }) => ({
        key: bytes(key),
        ...(value === undefined ? {} : { value: bytes(value) }),
      })),
    ),
  async get(name: string, key: Bytes) {
    const value = await storeOf(name).get(bytes(key));
    return value === undefined ? undefined : [...value];
  },
  async scan(name: string, { gte, lt, ...rest }: Range) {
    const entries = storeOf(name).scan({ ...rest, gte: bytes(gte), lt: bytes(lt) });
    return scans.push(entries[Symbol.asyncIterator]()) - 1;
  },
  async next(scan: number) {
    const result = await scans[scan]?.next();
    if (result === undefined || result.done === true) return undefined;
    const [key, value] = result.value;
    return [[...key], [...value]];
  },
  leave: async (scan: number) => void (await scans[scan]?.return?.()),
  close: async (name: string) => storeOf(name).close(),
};

/** Makes a call; errors of ours come back as what they say. */
async function call(name: keyof typeof CALLS, ...args: readonly unknown[]): Promise<unknown> {
  try {
    return { value: await (CALLS[name] as (...all: readonly unknown[]) => unknown)(...args) };
  } catch (error) {
    if (!(error instanceof MeshError)) throw error;
    return { error: { code: error.code, message: error.message, field: error.field } };
  }
}

Object.assign(globalThis, { call });
