// SPDX-License-Identifier: Apache-2.0
/** The operations of a node, as calls over its local API. */
import type {
  ActsReceipt,
  Candidate,
  EvidenceReport,
  FactInput,
  ListQuery,
  MembershipReport,
  NodeStatus,
  SealReceipt,
  VisibleFact,
  WatchQuery,
  WriteReceipt,
} from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";
import { receiveBackup } from "./backup.ts";
import { createConnection } from "./connection.ts";
import type { CallOptions, Connection } from "./connection.ts";
import { createWatch } from "./watch.ts";
import type { Watch } from "./watch.ts";

/** Where the node is. */
export interface ConnectOptions {
  /** The Unix socket of an agent or a hub. */
  readonly socketPath: string;
  /** A call without an answer for this long ends with `ABORTED`; default 30,000. Seals get five minutes. */
  readonly timeoutMs?: number;
}

/** One key with everything known about it. */
export interface KeyCandidates {
  /** Absent when nothing is visible. */
  readonly fact?: VisibleFact;
  /** Every writer's candidate, newest first. */
  readonly candidates: readonly Candidate[];
}

/**
 * A node's operations. All reject with a `MeshError`: the node's own (same code, field and remedy),
 * `UNREACHABLE` when no node answers, `ABORTED` when time runs out.
 */
export interface ContextClient {
  /**
   * Writes one fact, or several as one unit. Resolves when they are on the node's disk. With `increment`
   * the value is added to this node's own number under the key.
   */
  put(doc: string, facts: FactInput | readonly FactInput[]): Promise<WriteReceipt>;
  /** The visible fact, or undefined. */
  get(doc: string, key: string): Promise<VisibleFact | undefined>;
  /** The visible fact beside every writer's candidate. */
  candidates(doc: string, key: string): Promise<KeyCandidates>;
  /** Visible facts by document, key prefix or pattern, source, tag, in document and key order. */
  list(query?: ListQuery): Promise<readonly VisibleFact[]>;
  /** Deletes this node's own statements about the keys. */
  delete(doc: string, keys: readonly string[]): Promise<WriteReceipt>;
  /**
   * Rules that what a writer (device key, 64 hex digits) has said about a key so far does not count; it stays
   * among the candidates. `POLICY_REFUSED` without the role `manage`, `NOT_FOUND` when it has said nothing.
   */
  retract(doc: string, key: string, writer: string, reason: string): Promise<WriteReceipt>;
  /** Changes from now on; starts at once. */
  watch(query?: WatchQuery, options?: { readonly signal?: AbortSignal }): Watch;
  status(options?: { readonly digest?: boolean }): Promise<NodeStatus>;
  /** Who belongs to the space, as the node knows it. */
  membership(): Promise<MembershipReport>;
  /**
   * Hands signed membership acts (CBOR records) to the node: in effect there once it resolves, and passed on to
   * the other nodes. What the node refused is in the receipt.
   */
  addActs(records: readonly Uint8Array[]): Promise<ActsReceipt>;
  /** The text of a space file with every act that the node knows. */
  spaceFile(): Promise<string>;
  /** Proofs of forked chains. */
  evidence(): Promise<readonly EvidenceReport[]>;
  /** Seals the space; hub only. */
  seal(): Promise<SealReceipt>;
  /** The file bytes of a seal's bundle, the newest without a number; hub only. */
  bundle(sequence?: number): Promise<Uint8Array>;
  /**
   * The bytes of a backup of the node's store, as it is when the first of them is asked for, to be kept as a file.
   * Iterate once; leaving the loop ends the backup. Whether it is whole and right, the file itself tells:
   * `readBackup` of `@ctxmesh/service`. Throws the node's error (`STORE_CORRUPT`, `STORE_FAILED`, `CLOSED`;
   * `ABORTED` while another backup is under way) or `UNREACHABLE`.
   */
  backup(options?: { readonly signal?: AbortSignal }): AsyncIterable<Uint8Array>;
  /** Ends every connection; calls and watches under way fail. */
  close(): void;
}

const CALL_TIMEOUT_MS = 30_000;
const SEAL_TIMEOUT_MS = 300_000;

/** A client of the node that serves a socket. Opens no connection by itself. */
export function connect(options: ConnectOptions): ContextClient {
  const { socketPath, timeoutMs = CALL_TIMEOUT_MS } = options;
  const connection = createConnection(socketPath);
  const json = createJsonCaller(connection, timeoutMs);
  return {
    put: (doc, facts) => json("POST", "/v1/facts", { body: { doc, facts: [facts].flat() } }),
    get: (doc, key) => json<VisibleFact>("GET", "/v1/fact", { query: { doc, key } }).catch(absent),
    candidates: (doc, key) => json("GET", "/v1/fact", { query: { doc, key, all: 1 } }),
    async list(query = {}) {
      const { facts } = await json<{ facts: readonly VisibleFact[] }>("GET", "/v1/facts", {
        query: { ...query },
      });
      return facts;
    },
    delete: (doc, keys) => json("POST", "/v1/facts/delete", { body: { doc, keys } }),
    retract: (doc, key, writer, reason) =>
      json("POST", "/v1/retractions", { body: { doc, key, writer, reason } }),
    watch: (query = {}, { signal } = {}) => createWatch(connection, socketPath, query, signal),
    status: ({ digest = false } = {}) =>
      json("GET", "/v1/status", { query: { digest: digest ? 1 : undefined } }),
    membership: () => json("GET", "/v1/membership", {}),
    addActs: (records) =>
      json("POST", "/v1/membership", {
        body: { records: records.map((record) => Buffer.from(record).toString("base64")) },
      }),
    spaceFile: async () =>
      (await connection.call("GET", "/v1/space", { timeoutMs })).toString("utf8"),
    async evidence() {
      const { evidence } = await json<{ evidence: readonly EvidenceReport[] }>(
        "GET",
        "/v1/evidence",
        {},
      );
      return evidence;
    },
    seal: () => json("POST", "/v1/seals", { body: {}, timeoutMs: SEAL_TIMEOUT_MS }),
    bundle: (sequence) =>
      connection.call("GET", `/v1/bundles/${String(sequence ?? "latest")}`, {
        timeoutMs: SEAL_TIMEOUT_MS,
      }),
    backup: ({ signal } = {}) => receiveBackup(connection, socketPath, signal),
    close: () => connection.close(),
  };
}

type JsonCaller = <Answer>(
  method: "GET" | "POST",
  path: string,
  options: Partial<CallOptions>,
) => Promise<Answer>;

function createJsonCaller(connection: Connection, timeoutMs: number): JsonCaller {
  return async <Answer>(
    method: "GET" | "POST",
    path: string,
    options: Partial<CallOptions>,
  ): Promise<Answer> => {
    const body = await connection.call(method, path, { timeoutMs, ...options });
    try {
      return JSON.parse(body.toString("utf8")) as Answer;
    } catch (error) {
      throw new MeshError("PROTOCOL_VIOLATION", "the node's answer is not JSON", { cause: error });
    }
  };
}

function absent(error: unknown): undefined {
  if (error instanceof MeshError && error.code === "NOT_FOUND") return undefined;
  throw error;
}
