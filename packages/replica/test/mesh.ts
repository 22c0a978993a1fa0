// SPDX-License-Identifier: Apache-2.0
/** Devices, spaces, replicas in memory, and batches made by hand. */
import {
  encodeBatch,
  encodeBody,
  encodeHeader,
  encodeSignedRecord,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Header, Lane, Role, Section } from "@ctxmesh/codec";
import { createDeviceSigner, createDeviceVerifier, sha256 } from "@ctxmesh/crypto";
import { JS_ENGINE, encodeFrame, factEngine } from "@ctxmesh/facts";
import type { FactEngine, FactFrame, FactRecord } from "@ctxmesh/facts";
import {
  hlcFromMs,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  toHex,
} from "@ctxmesh/model";
import type {
  DeviceKey,
  DeviceSigner,
  DocumentName,
  HeaderHash,
  Hlc,
  IncarnationId,
  Logger,
  RandomSource,
  ReceiveCounters,
  SignatureVerifier,
  Store,
  Subscription,
  Vault,
} from "@ctxmesh/model";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { Replica } from "@ctxmesh/replica";
import type { Journal } from "@ctxmesh/replica";
import type { Space } from "@ctxmesh/membership";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";

export const START_MS: number = Date.UTC(2026, 0, 1);
export const DAY_MS = 86_400_000;
export const DOC: DocumentName = parseDocumentName("line-2/press-7");
export const verifier: SignatureVerifier = createDeviceVerifier();
export const hlcAt = (ms: number): Hlc => hlcFromMs(START_MS + ms);

/** A device with its key in both forms. */
export interface Device {
  readonly key: DeviceKey;
  readonly signer: DeviceSigner;
}

/** Device number `n`, 0 to 255. */
export function deviceOf(n: number): Device {
  const signer = createDeviceSigner(new Uint8Array(32).fill(n));
  return { signer, key: parseDeviceKey(toHex(signer.publicKey)) };
}

export const creator: Device = deviceOf(255);
/** The device of the replica under test, and one that writes to it by hand. */
export const [us, writer, reader, stranger] = [deviceOf(1), deviceOf(2), deviceOf(3), deviceOf(4)];

/** A fresh space without grants. */
export const emptySpace = (seed = 1): Space =>
  createSpace({
    name: "plant",
    creator: creator.signer,
    now: START_MS,
    random: createSeededRandom(seed),
  });

/** A space with a grant for each device, from a day before the start for 30 days. */
export const spaceWith = (
  roles: readonly (readonly [Device, Role])[],
  service: "agent" | "hub" = "agent",
): Space =>
  roles.reduce(
    (space, [device, role]) =>
      issueGrant(space, creator.signer, {
        device: device.key,
        service,
        role,
        notBefore: START_MS - DAY_MS,
      }),
    emptySpace(),
  );

/** The acts that `after` has and `before` has not. */
export const actsSince = (before: Space, after: Space): Uint8Array[] => {
  const known = new Set(before.acts.map(({ id }) => id));
  return after.acts
    .filter(({ id }) => !known.has(id))
    .map(({ record }) => encodeSignedRecord(record));
};

export const space: Space = spaceWith([
  [us, "write"],
  [writer, "append"],
  [reader, "read"],
]);

/** How to open a replica; everything has a default. */
export interface OpenOptions {
  readonly device?: Device;
  readonly space?: Space;
  readonly store?: Store;
  readonly clock?: VirtualClock;
  readonly random?: RandomSource;
  readonly logger?: Logger;
  readonly vault?: Vault;
  readonly journal?: Journal;
  readonly subscription?: Subscription;
  readonly factEngine?: FactEngine;
  readonly rest?: () => Promise<void>;
}

let opened = 0;
let replicas = 0;
const WASM = factEngine("wasm", createSeededRandom(1));

/** Opens a replica, by default ours on a fresh store with a clock of its own. Documents are kept in JavaScript by one, and in WebAssembly by the next. */
export const open = (options: OpenOptions = {}): Promise<Replica> =>
  Replica.open({
    store: options.store ?? createMemoryStore(),
    space: options.space ?? space,
    signer: (options.device ?? us).signer,
    verifier,
    clock: options.clock ?? createVirtualClock(START_MS),
    random: options.random ?? createSeededRandom(++opened),
    logger: options.logger ?? silentLogger,
    factEngine: options.factEngine ?? (++replicas % 2 === 0 ? JS_ENGINE : WASM),
    ...(options.vault === undefined ? {} : { vault: options.vault }),
    ...(options.journal === undefined ? {} : { journal: options.journal }),
    ...(options.subscription === undefined ? {} : { subscription: options.subscription }),
    ...(options.rest === undefined ? {} : { rest: options.rest }),
  });

/** The batches that a replica applies from now on, as bytes. */
export function applied(replica: Replica, origin?: "local" | "remote"): Uint8Array[] {
  const batches: Uint8Array[] = [];
  replica.onApplied((batch) => {
    if (origin === undefined || batch.origin === origin) batches.push(batch.bytes);
  });
  return batches;
}

/** What a batch made by hand is to differ in from a well-formed first batch with one fact. */
export interface ForgeOptions {
  readonly device?: Device;
  /** Who signs, when not the device. */
  readonly signer?: DeviceSigner;
  readonly space?: Space;
  readonly seq?: number;
  readonly prev?: HeaderHash | null;
  readonly hlc?: Hlc;
  readonly deps?: readonly HeaderHash[];
  readonly incarnation?: IncarnationId;
  readonly epoch?: number;
  readonly lane?: Lane;
  readonly records?: readonly FactRecord[];
  readonly frame?: Partial<FactFrame>;
  /** The section's payload, instead of the encoded frame. */
  readonly payload?: Uint8Array;
  /** The section's body, instead of the packed payload. */
  readonly body?: Uint8Array;
  /** The body on the wire, instead of the one that the header names. */
  readonly sentBody?: Uint8Array;
  readonly section?: Partial<Section>;
  /** One section with the same body for each of these documents. */
  readonly docs?: readonly DocumentName[];
}

/** A batch made by hand. */
export interface Forged {
  readonly bytes: Uint8Array;
  readonly hash: HeaderHash;
  readonly header: Header;
}

export const incarnationOf = (n: number): IncarnationId =>
  parseIncarnationId(n.toString(16).padStart(32, "0"));

/** Makes a batch by hand, well-formed and well signed but for what the options say. */
export function forge(options: ForgeOptions = {}): Forged {
  const device = options.device ?? writer;
  const seq = options.seq ?? 1;
  const hlc = options.hlc ?? hlcAt(seq);
  const records = options.records ?? [{ key: "forged", seq, hlc, valueJson: String(seq) }];
  const frame = {
    from: (records[0]?.seq ?? 1) - 1,
    to: records.at(-1)?.seq ?? seq,
    records,
    ...options.frame,
  };
  const body = options.body ?? encodeBody(options.payload ?? encodeFrame(frame));
  const docs = options.docs ?? [DOC];
  const header: Header = {
    space: (options.space ?? space).id,
    replica: device.key,
    incarnation: options.incarnation ?? incarnationOf(9),
    seq,
    prev: options.prev ?? null,
    hlc,
    epoch: options.epoch ?? 0,
    deps: options.deps ?? [],
    client: 0,
    ...(options.lane === undefined ? {} : { lane: options.lane }),
    sections: docs.map((doc) => ({
      doc,
      gen: 0,
      kind: "facts",
      from: frame.from,
      to: frame.to,
      bodyHash: sha256(body),
      bodyLen: body.length,
      keyId: null,
      ...options.section,
    })),
  };
  const headerBytes = encodeHeader(header);
  const signature = (options.signer ?? device.signer).sign(headerSigningInput(headerBytes));
  const bodies = docs.map(() => options.sentBody ?? body);
  return {
    bytes: encodeBatch({ headerBytes, signature, bodies }),
    hash: parseHeaderHash(toHex(sha256(headerBytes))),
    header,
  };
}

/** A chain of `length` batches made by hand. */
export function forgeChain(length: number, options: ForgeOptions = {}): Forged[] {
  const chain: Forged[] = [];
  for (let seq = 1; seq <= length; seq++) {
    chain.push(forge({ ...options, seq, prev: chain.at(-1)?.hash ?? null }));
  }
  return chain;
}

/** A hash that no batch has. */
export const unknownHash = (n = 0): HeaderHash => parseHeaderHash(n.toString(16).padStart(64, "f"));

/** received - (accepted + duplicate + dropped + held + refused): 0 when every batch is accounted for. */
export const unaccounted = (counters: ReceiveCounters): number =>
  counters.received -
  (counters.accepted + counters.duplicate + counters.dropped + counters.held) -
  Object.values(counters.refused).reduce((sum, count) => sum + count, 0);

/** Everything of a replica that a refused batch must leave alone. */
export const stateOf = (replica: Replica): unknown => ({
  frontier: toHex(replica.frontierDigest()),
  heads: replica.heads(),
  leaves: replica.snapshot().leaves,
  held: replica.counters().held,
});
