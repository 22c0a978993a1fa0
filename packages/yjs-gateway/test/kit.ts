// SPDX-License-Identifier: Apache-2.0
/** A gateway behind a real door, with documents that are plain Yjs documents in memory, and stock providers. */
import { createPrivateKey, createPublicKey, sign } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createDevIssuer, createTokenAuthorizer, Revocations, Tenants } from "@ctxmesh/auth";
import type { DevIssuer } from "@ctxmesh/auth";
import { LIMITS, MeshError, parseSpaceId } from "@ctxmesh/model";
import type {
  Access,
  Clock,
  DocumentName,
  Projection,
  Projections,
  ProjectionWriter,
} from "@ctxmesh/model";
import { mergeRichUpdates } from "@ctxmesh/rich";
import { createRecordingLogger, createSeededRandom, waitFor } from "@ctxmesh/testing";
import type { RecordingLogger } from "@ctxmesh/testing";
import { createWsServer } from "@ctxmesh/transport-ws";
import { createYjsGateway, SUBPROTOCOL, YJS_PREFIX } from "@ctxmesh/yjs-gateway";
import type { Quotas } from "@ctxmesh/yjs-gateway";
import { WebSocket } from "ws";
import { WebsocketProvider } from "y-websocket";
import * as Y from "yjs";

export const SPACE = parseSpaceId("5a".repeat(32));
export const ROOM = "line-2/press-7";
const AUDIENCE = "https://hub.example.org";
export const until = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> =>
  waitFor(holds, { timeoutMs: 15_000, what });

/** A clock that can be moved. */
export class MovableClock implements Clock {
  ahead = 0;
  now(): number {
    return Date.now() + this.ahead;
  }
}

/** A document in memory, as the port describes it. */
class PlainProjection implements Projection {
  readonly doc: Y.Doc;
  readonly #documents: PlainDocuments;
  readonly #stops: (() => void)[] = [];

  constructor(doc: Y.Doc, documents: PlainDocuments) {
    this.doc = doc;
    this.#documents = documents;
  }
  stateVector(): Uint8Array {
    return Y.encodeStateVector(this.doc);
  }
  diff(stateVector?: Uint8Array): Uint8Array {
    try {
      return Y.encodeStateAsUpdate(this.doc, stateVector);
    } catch (cause) {
      throw new MeshError("FORMAT_INVALID", "a state vector can't be read", { cause });
    }
  }
  async write(update: Uint8Array, writer: ProjectionWriter): Promise<void> {
    this.#assertReadable(update);
    await this.#documents.beforeWrite(update);
    this.#documents.writes.push({ update, writer });
    Y.applyUpdate(this.doc, update);
  }
  holds(update: Uint8Array): boolean {
    this.#assertReadable(update);
    const copy = new Y.Doc();
    Y.applyUpdate(copy, Y.encodeStateAsUpdate(this.doc));
    let isNew = false;
    copy.on("update", () => {
      isNew = true;
    });
    Y.applyUpdate(copy, update);
    return !isNew;
  }
  #assertReadable(update: Uint8Array): void {
    try {
      Y.decodeUpdate(update);
    } catch (cause) {
      throw new MeshError("FORMAT_INVALID", "an update can't be read", { cause });
    }
  }
  onUpdate(listener: (update: Uint8Array) => void): () => void {
    this.doc.on("update", listener);
    const stop = (): void => this.doc.off("update", listener);
    this.#stops.push(stop);
    return stop;
  }
  close(): void {
    for (const stop of this.#stops) stop();
    this.#documents.closed += 1;
  }
}

/** All documents of a gateway. */
export class PlainDocuments implements Projections {
  readonly writes: { readonly update: Uint8Array; readonly writer: ProjectionWriter }[] = [];
  closed = 0;
  readonly #docs = new Map<string, Y.Doc>();
  beforeWrite: (update: Uint8Array) => Promise<void> = () => Promise.resolve();

  doc(name: string = ROOM): Y.Doc {
    const doc = this.#docs.get(name) ?? new Y.Doc();
    this.#docs.set(name, doc);
    return doc;
  }
  open(name: DocumentName): Promise<Projection> {
    if (name === "too/large") {
      return Promise.reject(new MeshError("LIMIT_EXCEEDED", "there is no room for it"));
    }
    return Promise.resolve(new PlainProjection(this.doc(name), this));
  }
}

/** A running gateway. */
export interface Door extends AsyncDisposable {
  readonly port: number;
  /** For a provider. */
  readonly url: string;
  readonly documents: PlainDocuments;
  readonly issuer: DevIssuer;
  readonly clock: MovableClock;
  readonly revocations: Revocations;
  readonly logger: RecordingLogger;
  /** What the space allows. */
  granted: Access | undefined;
  /** What finding the keys of tokens waits for. */
  beforeGrant: () => Promise<void>;
  stop(): Promise<void>;
}

const seed = createPrivateKey({
  key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), Buffer.alloc(32, 7)]),
  format: "der",
  type: "pkcs8",
});

export async function startDoor(
  changes: {
    readonly quotas?: Quotas;
    readonly origins?: readonly string[];
    readonly documents?: PlainDocuments;
    readonly port?: number;
  } = {},
): Promise<Door> {
  const server = createServer();
  const documents = changes.documents ?? new PlainDocuments();
  const clock = new MovableClock();
  const logger = createRecordingLogger();
  const issuer = await createDevIssuer(AUDIENCE, clock);
  const revocations = new Revocations();
  const authorizer = createTokenAuthorizer({
    issuer: issuer.issuer,
    audience: AUDIENCE,
    keys: {
      find: async (id) => {
        await door.beforeGrant();
        return issuer.keys.find(id);
      },
    },
    clock,
    revocations,
    grants: () => door.granted,
  });
  const tenants = new Tenants(clock);
  const gateway = createYjsGateway({
    space: SPACE,
    authorizer,
    projections: documents,
    quotas: changes.quotas ?? tenants,
    merge: mergeRichUpdates,
    logger,
  });
  const transport = createWsServer({
    server,
    device: {
      publicKey: new Uint8Array(
        createPublicKey(seed).export({ format: "der", type: "spki" }).subarray(-32),
      ),
      sign: (message) => new Uint8Array(sign(null, message, seed)),
    },
    space: SPACE,
    isMember: () => false,
    isHub: () => false,
    guests: {
      prefix: YJS_PREFIX,
      protocol: SUBPROTOCOL,
      origins: changes.origins ?? [],
      welcome: (guest) => gateway.welcome(guest),
    },
    verifier: { verify: () => false },
    random: createSeededRandom(1),
    logger,
  });
  await transport.start(() => undefined);
  await new Promise<void>((resolve) => {
    server.listen(changes.port ?? 0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  const stop = async (): Promise<void> => {
    transport.drain();
    await gateway.stop();
    await transport.stop();
    authorizer.stop();
    tenants.close();
    await new Promise((resolve) => {
      server.close(resolve);
    });
  };
  const door: Door = {
    port,
    url: `ws://127.0.0.1:${String(port)}/yjs/${SPACE}`,
    documents,
    issuer,
    clock,
    revocations,
    logger,
    granted: "write",
    beforeGrant: () => Promise.resolve(),
    stop,
    [Symbol.asyncDispose]: stop,
  };
  return door;
}

/** A token for all documents. */
export const tokenFor = async (
  door: Door,
  subject = "alice",
  access: Access = "write",
  prefix = "",
): Promise<string> =>
  door.issuer.issue({ subject, tenant: "acme", roles: [{ space: SPACE, prefix, access }] });

/** A stock provider, and what it said. */
export interface Client extends Disposable {
  readonly doc: Y.Doc;
  readonly provider: WebsocketProvider;
  readonly closed: { code: number; reason: string }[];
}

export function connect(
  url: string,
  token: string,
  room = ROOM,
  options: { readonly doc?: Y.Doc; readonly protocols?: string[] } = {},
): Client {
  const doc = options.doc ?? new Y.Doc();
  const closed: { code: number; reason: string }[] = [];
  const provider = new WebsocketProvider(url, room, doc, {
    ...(options.protocols === undefined ? { params: { token } } : { protocols: options.protocols }),
    disableBc: true,
    WebSocketPolyfill: WebSocket as unknown as typeof globalThis.WebSocket,
  });
  provider.on("closed", (close: { code: number; reason: string }) => closed.push(close));
  return {
    doc,
    provider,
    closed,
    [Symbol.dispose]: () => {
      provider.destroy();
      provider.awareness.destroy();
    },
  };
}

/** A bare WebSocket, and what came of it. */
export interface Bare extends Disposable {
  readonly socket: WebSocket;
  readonly received: Uint8Array[];
  closed: { code: number; reason: string } | undefined;
}

export async function connectBare(
  url: string,
  options: { readonly headers?: Record<string, string>; readonly protocols?: string[] } = {},
): Promise<Bare> {
  const socket = new WebSocket(url, options.protocols ?? [], {
    headers: options.headers ?? {},
    perMessageDeflate: false,
  });
  const bare: Bare = {
    socket,
    received: [],
    closed: undefined,
    [Symbol.dispose]: () => socket.terminate(),
  };
  socket.on("message", (data: Buffer) => bare.received.push(new Uint8Array(data)));
  socket.on("error", () => undefined);
  socket.on("close", (code, reason) => {
    bare.closed = { code, reason: reason.toString() };
  });
  await until("the WebSocket", () => socket.readyState !== socket.CONNECTING);
  return bare;
}

export { LIMITS };
