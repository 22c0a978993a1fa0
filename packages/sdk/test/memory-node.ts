// SPDX-License-Identifier: Apache-2.0
/** A small honest node in memory, served over a real socket. */
import { join } from "node:path";
import { createControlServer } from "@ctxmesh/api";
import type { ControlServer } from "@ctxmesh/api";
import { MeshError } from "@ctxmesh/model";
import type {
  ActsReceipt,
  Candidate,
  ChangeEvent,
  ContextService,
  EvidenceReport,
  FactInput,
  HistoryService,
  KeyHistory,
  LinkReport,
  ListQuery,
  MembershipReport,
  MembershipService,
  NodeStatus,
  SealReceipt,
  SealingService,
  VisibleFact,
  WatchQuery,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";
import { silentLogger, tempDir } from "@ctxmesh/testing";

const WRITER = "ab".repeat(32);

const NOTHING = { messages: 0, bytes: 0 };

/** The node's one link. */
export const LINK: LinkReport = {
  device: WRITER,
  address: "memory:1",
  role: "agent",
  connectedSinceMs: 1,
  inSync: false,
  pulling: true,
  traffic: {
    budget: 32_000,
    in: { bytes: 10, perSecond: 1 },
    out: { bytes: 20, perSecond: 2 },
    queue: { control: NOTHING, high: NOTHING, normal: NOTHING, low: { messages: 3, bytes: 900 } },
    deferred: { pushes: 1, bytes: 300 },
    expiredBytes: 0,
    drainMs: 38,
  },
};

export class MemoryService implements ContextService, HistoryService, MembershipService {
  readonly acts: Uint8Array[] = [];
  /** How far each write was to get. */
  readonly options: WriteOptions[] = [];
  /** What a write waits for. */
  acknowledgement: Promise<unknown> = Promise.resolve();
  /** What an answer about the past waits for. */
  remembering: Promise<unknown> = Promise.resolve();
  /** Number of questions about the past. */
  asked = 0;
  readonly #facts = new Map<string, VisibleFact>();
  readonly #watchers = new Set<(event: ChangeEvent) => void>();
  #hlc = 0;

  async put(
    doc: string,
    facts: readonly FactInput[],
    options: WriteOptions = {},
  ): Promise<WriteReceipt> {
    this.options.push(options);
    await this.acknowledgement;
    for (const { key, value, ...rest } of facts) {
      const fact = {
        doc,
        key,
        value,
        writer: WRITER,
        hlc: ++this.#hlc,
        version: String(this.#hlc),
        ageMs: 0,
        contested: false,
        ...rest,
      } as unknown as VisibleFact;
      this.#facts.set(`${doc}\n${key}`, fact);
      this.#tell({ doc, key, fact, origin: "local" });
    }
    return { acknowledged: "local", hlc: this.#hlc, facts: facts.length } as WriteReceipt;
  }

  async delete(doc: string, keys: readonly string[], options: WriteOptions): Promise<WriteReceipt> {
    this.options.push(options);
    for (const key of keys) {
      this.#facts.delete(`${doc}\n${key}`);
      this.#tell({ doc, key, origin: "local" });
    }
    return { acknowledged: "local", hlc: ++this.#hlc, facts: keys.length } as WriteReceipt;
  }

  async retract(): Promise<WriteReceipt> {
    throw new MeshError("POLICY_REFUSED", "this device's role is write, and this needs manage");
  }

  /** Tokens that reads were to wait for. */
  readonly covers: string[] = [];

  async covered(token: string): Promise<void> {
    this.covers.push(token);
  }

  get(doc: string, key: string): VisibleFact | undefined {
    return this.#facts.get(`${doc}\n${key}`);
  }

  async getAt(doc: string, key: string): Promise<VisibleFact | undefined> {
    this.asked++;
    await this.remembering;
    return this.get(doc, key);
  }

  async listAt(query: ListQuery): Promise<readonly VisibleFact[]> {
    this.asked++;
    await this.remembering;
    return this.list(query);
  }

  async history(): Promise<KeyHistory> {
    this.asked++;
    await this.remembering;
    return { entries: [], reachesBack: "all" };
  }

  candidates(doc: string, key: string): readonly Candidate[] {
    const fact = this.get(doc, key);
    return fact === undefined ? [] : [{ ...fact, deleted: false } as unknown as Candidate];
  }

  list({ doc, prefix = "", after = "", limit = 1_000 }: ListQuery): readonly VisibleFact[] {
    if (limit > 10_000)
      throw new MeshError("INPUT_INVALID", "limit is over 10000", { field: "limit" });
    return [...this.#facts.values()]
      .filter((fact) => doc === undefined || fact.doc === doc)
      .filter(({ key }) => key.startsWith(prefix) && key > after)
      .slice(0, limit);
  }

  watch({ doc, prefix = "" }: WatchQuery, listener: (event: ChangeEvent) => void): () => void {
    const watcher = (event: ChangeEvent): void => {
      if ((doc === undefined || event.doc === doc) && event.key.startsWith(prefix)) listener(event);
    };
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  links(): readonly LinkReport[] {
    return [LINK];
  }

  async status(options: { digest?: boolean } = {}): Promise<NodeStatus> {
    const digest = options.digest === true ? { digest: "00" } : {};
    return { service: "hub", facts: this.#facts.size, ...digest } as unknown as NodeStatus;
  }

  membership(): MembershipReport {
    return { space: WRITER, members: [], chains: [] } as unknown as MembershipReport;
  }

  async addActs(records: readonly Uint8Array[]): Promise<ActsReceipt> {
    if (records.length === 0) throw new MeshError("INPUT_INVALID", "no acts");
    this.acts.push(...records);
    return { added: records.length, refused: [] };
  }

  spaceFile(): string {
    return '{ "exact":  "text \u00e9" }\n';
  }

  evidence(): readonly EvidenceReport[] {
    return [{ device: WRITER, incarnation: "cd", seq: 7, proof: "AAE=" }];
  }

  get watching(): number {
    return this.#watchers.size;
  }

  #tell(event: ChangeEvent): void {
    for (const watcher of this.#watchers) watcher(event);
  }
}

const BUNDLE = Buffer.from('{ "exact":  "bytes" }\n');

class MemorySealing implements SealingService {
  #count = 0;

  async seal(): Promise<SealReceipt> {
    return { sequence: ++this.#count } as SealReceipt;
  }

  async bundle(sequence = this.#count): Promise<Uint8Array> {
    if (sequence < 1 || sequence > this.#count) {
      throw new MeshError("NOT_FOUND", `there is no seal ${String(sequence)}`);
    }
    return BUNDLE;
  }
}

export interface MemoryNode extends AsyncDisposable {
  readonly service: MemoryService;
  readonly socketPath: string;
  readonly bundle: Uint8Array;
  /** Serves again after `stop`, with the same facts. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Listens on a port of this machine too, for who has the token, and for pages of these origins; returns the URL. */
  listen(token: string, origins?: readonly string[]): Promise<string>;
}

export async function startMemoryNode(): Promise<MemoryNode> {
  const dir = await tempDir();
  const socketPath = join(dir.path, "node.sock");
  const service = new MemoryService();
  const sealing = new MemorySealing();
  let server: ControlServer | undefined;
  const start = async (): Promise<void> => {
    server = createControlServer({ service, sealing, version: "0.0.0", logger: silentLogger });
    await server.listenUnix(socketPath);
  };
  const stop = async (): Promise<void> => server?.close();
  await start();
  return {
    service,
    socketPath,
    bundle: BUNDLE,
    start,
    stop,
    async listen(token, origins = []) {
      if (server === undefined) throw new Error("not started");
      const { port } = await server.listenLoopback({ host: "127.0.0.1", port: 0, token, origins });
      return `http://127.0.0.1:${String(port)}`;
    },
    async [Symbol.asyncDispose]() {
      await stop();
      await dir.remove();
    },
  };
}
