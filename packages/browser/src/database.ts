// SPDX-License-Identifier: Apache-2.0
/**
 * The database of a replica in IndexedDB, named `ctxmesh:<name>`, with two object stores:
 *
 * ```
 * records   bytes -> bytes     what the port `Store` has
 * page      text -> anything   `seed`: the device key's seed (32 bytes); `space`: the text of a space file
 * ```
 *
 * Both are written with durability `strict`: a transaction is complete once the browser has had the system sync its files.
 */
import { MeshError } from "@ctxmesh/model";

/** Object stores. */
export type Part = "records" | "page";
const PARTS: readonly Part[] = ["records", "page"];

const nameOf = (name: string): string => `ctxmesh:${name}`;

/** What an error of IndexedDB means: `STORE_FAILED`. */
export function storeError(what: string, error: unknown): MeshError {
  const cause = error instanceof Error ? error : undefined;
  const isFull = cause?.name === "QuotaExceededError";
  return new MeshError(
    "STORE_FAILED",
    `the store ${what}: ${isFull ? "the browser has no room for it" : (cause?.message ?? String(error))}`,
    {
      remedy: isFull
        ? "free space on this device, or allow the site to keep more, then load the page again"
        : "load the page again, which opens the store again",
      cause: error,
    },
  );
}

/** The result of a request. */
export async function resultOf<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.addEventListener("success", () => {
      resolve(request.result);
    });
    request.addEventListener("error", () => {
      reject(request.error);
    });
  });
}

/** Resolves once a transaction is complete; rejects when it was aborted. */
export async function completionOf(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.addEventListener("complete", () => {
      resolve();
    });
    transaction.addEventListener("abort", () => {
      reject(transaction.error);
    });
  });
}

/** Opens the database of a name; made when missing. Throws `STORE_FAILED`. */
export async function openDatabase(name: string): Promise<IDBDatabase> {
  const request = indexedDB.open(nameOf(name), 1);
  request.addEventListener("upgradeneeded", () => {
    for (const part of PARTS) request.result.createObjectStore(part);
  });
  try {
    return await resultOf(request);
  } catch (error) {
    throw storeError(`${name} can't be opened`, error);
  }
}

/** Deletes the database of a name; nothing when there is none. Throws `STORE_FAILED`. */
export async function deleteDatabase(name: string): Promise<void> {
  try {
    await resultOf(indexedDB.deleteDatabase(nameOf(name)));
  } catch (error) {
    throw storeError(`${name} can't be deleted`, error);
  }
}

/** A value of the page; undefined when there is none. Throws `STORE_FAILED`. */
export async function readPage(database: IDBDatabase, key: string): Promise<unknown> {
  try {
    return await resultOf(database.transaction("page").objectStore("page").get(key));
  } catch (error) {
    throw storeError(`can't be read`, error);
  }
}

/** Writes a value of the page; durable once it resolves. Throws `STORE_FAILED`. */
export async function writePage(database: IDBDatabase, key: string, value: unknown): Promise<void> {
  try {
    const transaction = database.transaction("page", "readwrite", { durability: "strict" });
    transaction.objectStore("page").put(value, key);
    await completionOf(transaction);
  } catch (error) {
    throw storeError(`can't be written`, error);
  }
}

/** The value of the page under a key; `value`, from now on, when there was none. Two tabs that ask at once get the same. Throws `STORE_FAILED`. */
export async function readOrWritePage(
  database: IDBDatabase,
  key: string,
  value: unknown,
): Promise<unknown> {
  try {
    const transaction = database.transaction("page", "readwrite", { durability: "strict" });
    const done = completionOf(transaction);
    const page = transaction.objectStore("page");
    const kept: unknown = await resultOf(page.get(key));
    if (kept === undefined) page.put(value, key);
    await done;
    return kept ?? value;
  } catch (error) {
    throw storeError(`can't be written`, error);
  }
}
