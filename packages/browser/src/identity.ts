// SPDX-License-Identifier: Apache-2.0
/** The device that a page is, and the space that it belongs to: kept in its store, or given, or joined with an invite. */
import { createDeviceSigner, generateSeed } from "@ctxmesh/crypto";
import { encodeSpaceFile, parseInvite, parseSpaceFile } from "@ctxmesh/membership";
import type { Contact, Invitation, Space } from "@ctxmesh/membership";
import { MeshError } from "@ctxmesh/model";
import type { SignatureVerifier } from "@ctxmesh/model";
import { Replica } from "@ctxmesh/replica";
import { joinThrough } from "@ctxmesh/service";
import type { JoinIdentity, NodeDeps } from "@ctxmesh/service";
import { deleteDatabase, openDatabase, readOrWritePage, readPage, writePage } from "./database.ts";
import { rest, wait } from "./platform.ts";
import { IndexedStore } from "./store.ts";
import { createPageTransport } from "./transport.ts";

/** How long a join may take, in milliseconds. */
const JOIN_MS = 60_000;
const SEED_BYTES = 32;

/** Where a page's space comes from. */
export interface Belonging {
  /** The text of a space file. The page's device has to have a grant in it, or to get one, by its key: see `deviceKey`. */
  readonly space?: string;
  /** The token of an invite; used once, then the page knows its space. */
  readonly invite?: string;
  /** URLs of hubs, or of agents that listen for devices. */
  readonly urls?: readonly string[];
  /** Calls a join off. */
  readonly signal?: AbortSignal;
}

/** The seed of the device key in a database; made when there is none. Throws `STORE_FAILED`, `KEY_INVALID`. */
export async function deviceSeed(database: IDBDatabase, { random }: NodeDeps): Promise<Uint8Array> {
  const seed = await readOrWritePage(database, "seed", generateSeed(random));
  if (seed instanceof Uint8Array && seed.length === SEED_BYTES) return seed;
  throw new MeshError("KEY_INVALID", "the page's device key is damaged");
}

/**
 * The space of a page: of the file that it gives, else of its store, else joined with the invite, with the grant in it. Throws what parsing and
 * joining throw, `INPUT_INVALID` when there is none of them, and `STORE_FORMAT` for the file of another space than before.
 */
export async function spaceOf(
  database: IDBDatabase,
  belonging: Belonging,
  device: {
    readonly name: string;
    readonly seed: Uint8Array;
    readonly verifier: SignatureVerifier;
  },
  deps: NodeDeps,
): Promise<Space> {
  const kept = await readPage(database, "space");
  const text = belonging.space ?? kept;
  if (typeof text === "string") {
    const space = parseSpaceFile(text, device.verifier);
    if (text === kept) return space;
    // What the store has is of the other one: with this written down it could not be opened any more.
    if (typeof kept === "string" && parseSpaceFile(kept, device.verifier).id !== space.id) {
      throw new MeshError("STORE_FORMAT", `the replica ${device.name} belongs to another space`, {
        remedy: "open this space under another name, or delete the replica",
      });
    }
    await writePage(database, "space", text);
    return space;
  }
  if (belonging.invite === undefined) {
    throw new MeshError("INPUT_INVALID", "the page belongs to no space yet", {
      field: "space",
      remedy: "give the text of a space file, or an invite",
    });
  }
  const invitation = parseInvite(belonging.invite, device.verifier);
  const space = await join(invitation, belonging, device, deps);
  await writePage(database, "space", encodeSpaceFile(space));
  return space;
}

/** The store of a join, which a page that was closed meanwhile leaves behind. */
export const scratchOf = (name: string): string => `${name}:join`;

/** URLs at which an invitation's contacts may be: those of theirs that a page can dial, and those that it was given. */
const urlsOf = (contacts: readonly Contact[], urls: readonly string[]): readonly string[] => [
  ...contacts.map(({ address }) => address).filter((address) => /^wss?:/u.test(address)),
  ...urls,
];

async function join(
  invitation: Invitation,
  { urls = [], signal }: Belonging,
  { name, seed, verifier }: Parameters<typeof spaceOf>[2],
  deps: NodeDeps,
): Promise<Space> {
  const { contacts, space } = invitation;
  const places = urlsOf(contacts, urls);
  if (places.length === 0) {
    throw new MeshError("INPUT_INVALID", "the invite names no contact that a page can dial", {
      field: "urls",
      remedy: "give the URL of the hub that it names, like wss://hub.example.org",
    });
  }
  const scratch = scratchOf(name);
  const roleOf = (device: string): "hub" | undefined =>
    contacts.some((contact) => contact.device === device) ? "hub" : undefined;
  try {
    return await joinThrough(
      {
        invitation,
        deviceSeed: seed,
        timeoutMs: JOIN_MS,
        ...(signal === undefined ? {} : { signal }),
      },
      {
        async open(own, stack) {
          const device = createDeviceSigner(invitation.seed);
          // Of an earlier attempt, which ended with its page.
          await deleteDatabase(scratch);
          const store = new IndexedStore(await openDatabase(scratch));
          stack.defer(async () => store.close());
          const parts = { ...own, store, space, signer: device, verifier, rest, wait };
          const replica = await Replica.open(parts);
          stack.defer(async () => replica.close());
          return { device, verifier, replica };
        },
        connect: ({ device }: JoinIdentity, own) => [
          createPageTransport({ ...own, urls: places, device, space: space.id, roleOf, verifier }),
        ],
      },
      deps,
    );
  } finally {
    await deleteDatabase(scratch);
  }
}
