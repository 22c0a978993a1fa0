// SPDX-License-Identifier: Apache-2.0
/** The operations of a node, as calls over its local API. */
import type {
  ActsReceipt,
  Candidate,
  DecisionReceipt,
  DecisionRequest,
  EvidenceReport,
  FactInput,
  FetchQuery,
  FetchReport,
  JsonValue,
  KeyHistory,
  KeysReport,
  LinkReport,
  MembershipReport,
  NodeStatus,
  OmissionQuery,
  OmissionReport,
  RewrapReport,
  ScrubReport,
  SealReceipt,
  VisibleFact,
  WatchQuery,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { receiveBackup } from "./backup.ts";
import { createConnection } from "./connection.ts";
import type { CallOptions, Connection } from "./connection.ts";
import { createEvents } from "./events.ts";
import type { EventCalls } from "./events.ts";
import { createReads } from "./reads.ts";
import type { HistoryOptions, ListOptions, ReadOptions } from "./reads.ts";
import { createWatch } from "./watch.ts";
import type { Watch } from "./watch.ts";

/** Where the node is. */
export interface ConnectOptions {
  /** The Unix socket of an agent or a hub. */
  readonly socketPath: string;
  /** A call without an answer for this long ends with `ABORTED`; default 30,000. Seals and the past get five minutes. */
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
export interface ContextClient extends EventCalls {
  /**
   * Writes one fact, or several as one unit. Resolves when they are on the node's disk, or, with `ack`, when a hub has
   * them (`hub`), or a hub's seal covers them (`sealed`). After `timeoutMs` without that it rejects with `ACK_TIMEOUT`:
   * the write is on the node's disk and goes on by itself, so don't make it again. With `increment` the value is added to
   * this node's own number under the key. `priority` says what goes first, and last, over a link with a backlog.
   */
  put(
    doc: string,
    facts: FactInput | readonly FactInput[],
    options?: WriteOptions,
  ): Promise<WriteReceipt>;
  /**
   * The visible fact, or undefined; with `at` what it was at a moment: of what had been said by then, is known to the
   * node and counts now. Then also `HISTORY_PRUNED` for a moment before what the node keeps.
   */
  get(doc: string, key: string, options?: ReadOptions): Promise<VisibleFact | undefined>;
  /** The visible fact beside every writer's candidate. */
  candidates(doc: string, key: string): Promise<KeyCandidates>;
  /** Visible facts by document, key prefix or pattern, source, tag, in document and key order; `at` as in {@link get}. */
  list(query?: ListOptions): Promise<readonly VisibleFact[]>;
  /** What was said about a key, whether it counts or not, newest first, page by page. */
  history(doc: string, key: string, query?: HistoryOptions): Promise<KeyHistory>;
  /** Deletes this node's own statements about the keys. `options` as in {@link put}. */
  delete(doc: string, keys: readonly string[], options?: WriteOptions): Promise<WriteReceipt>;
  /**
   * Rules that what a writer (device key, 64 hex digits) has said about a key so far does not count; it stays
   * among the candidates. `POLICY_REFUSED` without the role `manage`, `NOT_FOUND` when it has said nothing.
   * `ack` as in {@link put}.
   */
  retract(
    doc: string,
    key: string,
    writer: string,
    reason: string,
    options?: Omit<WriteOptions, "priority">,
  ): Promise<WriteReceipt>;
  /** Changes from now on; starts at once. */
  watch(query?: WatchQuery, options?: { readonly signal?: AbortSignal }): Watch;
  status(options?: { readonly digest?: boolean }): Promise<NodeStatus>;
  /** The node's links to its peers, and how busy they are. */
  links(): Promise<readonly LinkReport[]>;
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
  /** How the node's store is encrypted. */
  keys(): Promise<KeysReport>;
  /** Ends the epochs of all data keys of the store: what is written from now on gets new ones. Resolves with their number. */
  rotateKeys(): Promise<number>;
  /**
   * Protects the node's store with another key, of a location such as `file:/etc/ctxmesh/store.key` on the node's
   * machine. Its configuration has to name that key before the next start.
   */
  rewrapKeys(to: string): Promise<RewrapReport>;
  /** Begins a check of the node's whole store, unless one is under way; the status tells how it goes. */
  scrub(): Promise<ScrubReport>;
  /** What is left out on the node; the sections of one document, page by page. */
  omissions(query?: OmissionQuery): Promise<OmissionReport>;
  /** Has the node ask its peers for some of what is left out of a document; to be called again with the `next` of the answer. */
  fetch(query: FetchQuery): Promise<FetchReport>;
  /**
   * Signs what a model read, checked and concluded, and keeps it as a fact; agent only. The agent looks the inputs up and
   * records version, age and hash of each. Resolves once it is on the agent's disk.
   */
  decide(request: DecisionRequest): Promise<DecisionReceipt>;
  /** Signs and keeps what became of a decision, named by its id; agent only. */
  recordOutcome(of: string, outcome: JsonValue): Promise<DecisionReceipt>;
  /** Seals the space; hub only. `after` is the number of the newest seal that anybody has, for a hub that was restored or healed. */
  seal(options?: { readonly after?: number }): Promise<SealReceipt>;
  /** The file bytes of a seal's bundle, the newest without a number, with `batches` the signed batches behind its facts, too; hub only. */
  bundle(sequence?: number, options?: { readonly batches?: boolean }): Promise<Uint8Array>;
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
/** Each of a few peers may take half a minute not to answer. */
const FETCH_TIMEOUT_MS = 300_000;
/** A million data keys take a minute. */
const KEYS_TIMEOUT_MS = 600_000;

/** A client of the node that serves a socket. Opens no connection by itself. */
export function connect(options: ConnectOptions): ContextClient {
  const { socketPath, timeoutMs = CALL_TIMEOUT_MS } = options;
  const connection = createConnection(socketPath);
  const json = createJsonCaller(connection, timeoutMs);
  const write = (path: string, body: object, how: WriteOptions = {}): Promise<WriteReceipt> => {
    const { ack, timeoutMs: ackMs, priority } = how;
    // The node gives up first, since it knows how far the write has got.
    const waitMs = ack === undefined || ack === "local" ? 0 : (ackMs ?? LIMITS.ackDefaultMs);
    return json("POST", path, {
      body: { ...body, ack, timeoutMs: ackMs, priority },
      timeoutMs: timeoutMs + waitMs,
    });
  };
  return {
    put: (doc, facts, how) => write("/v1/facts", { doc, facts: [facts].flat() }, how),
    ...createReads(json),
    ...createEvents(connection, socketPath),
    candidates: (doc, key) => json("GET", "/v1/fact", { query: { doc, key, all: 1 } }),
    delete: (doc, keys, how) => write("/v1/facts/delete", { doc, keys }, how),
    retract: (doc, key, writer, reason, how) =>
      write("/v1/retractions", { doc, key, writer, reason }, how),
    watch: (query = {}, { signal } = {}) => createWatch(connection, socketPath, query, signal),
    status: ({ digest = false } = {}) =>
      json("GET", "/v1/status", { query: { digest: digest ? 1 : undefined } }),
    links: async () => (await json<{ links: readonly LinkReport[] }>("GET", "/v1/links", {})).links,
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
    keys: () => json("GET", "/v1/keys", {}),
    async rotateKeys() {
      const body = { body: {}, timeoutMs: KEYS_TIMEOUT_MS };
      return (await json<{ ended: number }>("POST", "/v1/keys/rotate", body)).ended;
    },
    rewrapKeys: (to) =>
      json("POST", "/v1/keys/rewrap", { body: { to }, timeoutMs: KEYS_TIMEOUT_MS }),
    scrub: () => json("POST", "/v1/scrub", { body: {} }),
    omissions: ({ proof = false, ...query } = {}) =>
      json("GET", "/v1/omissions", { query: { ...query, proof: proof ? 1 : undefined } }),
    fetch: (query) => json("POST", "/v1/fetches", { body: query, timeoutMs: FETCH_TIMEOUT_MS }),
    ...createSealing(connection, json),
    backup: ({ signal } = {}) => receiveBackup(connection, socketPath, signal),
    close: () => connection.close(),
  };
}

/** What is sealed, and what is meant to be. */
const createSealing = (
  connection: Connection,
  json: JsonCaller,
): Pick<ContextClient, "bundle" | "decide" | "recordOutcome" | "seal"> => ({
  decide: (request) => json("POST", "/v1/decisions", { body: request }),
  recordOutcome: (of, outcome) => json("POST", "/v1/outcomes", { body: { of, outcome } }),
  seal: (how = {}) => json("POST", "/v1/seals", { body: how, timeoutMs: SEAL_TIMEOUT_MS }),
  bundle: (sequence, { batches = false } = {}) =>
    connection.call("GET", `/v1/bundles/${String(sequence ?? "latest")}`, {
      query: { batches: batches ? 1 : undefined },
      timeoutMs: SEAL_TIMEOUT_MS,
    }),
});

/** Makes a call whose answer is JSON. */
export type JsonCaller = <Answer>(
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
