// SPDX-License-Identifier: Apache-2.0
/**
 * Who may write under the ids that Yjs clients drew. A page shows its id to everybody who reads the document, and of one client two histories are none: so
 * whoever could say something under an id that is another's could make all that was written under it void.
 */
import { LIMITS, MeshError, fromHex, toHex } from "@ctxmesh/model";
import type { ClientHolder } from "@ctxmesh/model";
import { isStockClient } from "./client-id.ts";
import { malformed } from "./errors.ts";

const COUNT_BYTES = 4;
const CLIENT_BYTES = 4;
const NAME_BYTES = 16;
const OWNER_BYTES: number = CLIENT_BYTES + NAME_BYTES;
/** No Yjs update begins so: it is 0, the number of clients in one, in a form that is not the shortest. */
const MARK: readonly number[] = [0x80, 0x00];

/** Stands for whoever made what somebody else handed over. */
export const NOBODY: string = "00".repeat(NAME_BYTES);

/** What is known of one who writes. */
export interface ClientOwner {
  /** Stands for it: 16 bytes as hexadecimal digits. */
  readonly by: string;
  /** Whose page has a client id, as pages say; undefined where nobody knows. */
  readonly whose?: (client: number) => ClientHolder | undefined;
}

/** For whom the clients of a document were carried. */
export class Owners {
  readonly #byClient = new Map<number, Set<string>>();
  /** How many clients are whose. */
  readonly #counts = new Map<string, number>();

  /** Something under this id was carried for somebody, 16 bytes as hexadecimal digits. */
  add(client: number, by: string): void {
    const known = this.#byClient.get(client);
    if (known?.has(by) === true) return;
    if (known === undefined) this.#byClient.set(client, new Set([by]));
    else known.add(by);
    this.#counts.set(by, (this.#counts.get(by) ?? 0) + 1);
  }

  /** Throws `LIMIT_EXCEEDED` when somebody would have more clients with these than it may. */
  assertRoom(clients: readonly number[], by: string): void {
    const fresh = clients.filter((client) => !this.has(client, by)).length;
    if (fresh === 0 || fresh + (this.#counts.get(by) ?? 0) <= LIMITS.clientsPerSubject) return;
    const most = String(LIMITS.clientsPerSubject);
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `one subject would write under more than ${most} client ids of Yjs (clientsPerSubject)`,
      { field: "clients", remedy: "keep to one Y.Doc for a page, or begin another document" },
    );
  }

  /** Takes over all of others. */
  addAll(others: Owners): void {
    for (const [client, names] of others.#byClient)
      for (const name of names) this.add(client, name);
  }

  /** Whether something under an id was carried for somebody. */
  has(client: number, by: string): boolean {
    return this.#byClient.get(client)?.has(by) === true;
  }

  /** Whether somebody may write under an id: it did so before, or nobody did. */
  allows(client: number, by: string): boolean {
    const names = this.#byClient.get(client);
    if (names === undefined || (by !== NOBODY && names.has(by))) return true;
    return names.size === 1 && names.has(NOBODY);
  }

  /** The state of a document with them before it: mark, count (4 bytes), then for each its client (4 bytes) and name (16 bytes), in order; numbers are big-endian. As it is, where there are none. */
  encode(state: Uint8Array): Uint8Array {
    const pairs = [...this.#byClient]
      .toSorted(([a], [b]) => a - b)
      .flatMap(([client, names]) => [...names].toSorted().map((name) => [client, name] as const));
    if (pairs.length === 0) return state;
    const start = MARK.length + COUNT_BYTES;
    const bytes = new Uint8Array(start + pairs.length * OWNER_BYTES + state.length);
    const view = new DataView(bytes.buffer);
    bytes.set(MARK);
    view.setUint32(MARK.length, pairs.length);
    for (const [i, [client, name]] of pairs.entries()) {
      const at = start + i * OWNER_BYTES;
      view.setUint32(at, client);
      bytes.set(fromHex(name), at + CLIENT_BYTES);
    }
    bytes.set(state, bytes.length - state.length);
    return bytes;
  }
}

/** Parts what {@link Owners.encode} made. Throws `FORMAT_INVALID`. */
export function splitState(bytes: Uint8Array): {
  readonly owners: Owners;
  readonly state: Uint8Array;
} {
  const owners = new Owners();
  if (MARK.some((byte, i) => bytes[i] !== byte)) return { owners, state: bytes };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const start = MARK.length + COUNT_BYTES;
  const count = bytes.length < start ? 0 : view.getUint32(MARK.length);
  const end = start + count * OWNER_BYTES;
  if (count === 0 || end > bytes.length) malformed("the owners of its clients", "owners");
  let before = "";
  for (let at = start; at < end; at += OWNER_BYTES) {
    const pair = toHex(bytes.subarray(at, at + OWNER_BYTES));
    const client = view.getUint32(at);
    if (pair <= before || !isStockClient(client)) malformed("the owners of its clients", "owners");
    before = pair;
    owners.add(client, pair.slice(2 * CLIENT_BYTES));
  }
  return { owners, state: bytes.subarray(end) };
}
