// SPDX-License-Identifier: Apache-2.0
/** HTTP by hand, and a service that only remembers. */
import { request as httpRequest } from "node:http";
import type { IncomingHttpHeaders, RequestOptions } from "node:http";
import type {
  ActsReceipt,
  CallOff,
  ChangeEvent,
  ContextService,
  EvidenceReport,
  FactInput,
  HistoryQuery,
  HistoryService,
  KeyHistory,
  ListQuery,
  MembershipReport,
  MembershipService,
  NodeStatus,
  VisibleFact,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";

export interface RawResponse {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

export async function rawRequest(
  options: RequestOptions,
  body?: string | Uint8Array,
): Promise<RawResponse> {
  const { promise, resolve, reject } = Promise.withResolvers<RawResponse>();
  const outgoing = httpRequest({ agent: false, ...options }, (response) => {
    const chunks: Buffer[] = [];
    response.on("data", (chunk: Buffer) => chunks.push(chunk));
    response.on("error", reject);
    response.on("end", () => {
      const text = Buffer.concat(chunks).toString("utf8");
      resolve({ status: response.statusCode ?? 0, headers: response.headers, text });
    });
  });
  outgoing.on("error", reject);
  outgoing.end(body);
  return promise;
}

export const receipt = (facts: number): WriteReceipt =>
  ({ acknowledged: "local", hlc: 1, facts }) as WriteReceipt;

/** Keeps what was put, answers `get` with one fixed fact, and hands watchers to the test. */
export class RecordingService implements ContextService, HistoryService, MembershipService {
  readonly puts: { doc: string; facts: readonly FactInput[] }[] = [];
  readonly retractions: (readonly string[])[] = [];
  /** How far each write was to get. */
  readonly options: WriteOptions[] = [];
  readonly queries: ListQuery[] = [];
  readonly acts: Uint8Array[] = [];
  readonly listeners = new Set<(event: ChangeEvent) => void>();
  /** What was asked about the past, with what calls it off. */
  readonly past: { readonly question: readonly unknown[]; readonly options: CallOff }[] = [];
  /** What an answer about the past waits for. */
  remembering: Promise<unknown> = Promise.resolve();
  failure: unknown;

  async put(
    doc: string,
    facts: readonly FactInput[],
    options: WriteOptions,
  ): Promise<WriteReceipt> {
    if (this.failure !== undefined) throw this.failure;
    this.options.push(options);
    this.puts.push({ doc, facts });
    return receipt(facts.length);
  }

  async delete(
    _doc: string,
    keys: readonly string[],
    options: WriteOptions,
  ): Promise<WriteReceipt> {
    this.options.push(options);
    return receipt(keys.length);
  }

  async retract(
    ...args: readonly [string, string, string, string, WriteOptions]
  ): Promise<WriteReceipt> {
    this.retractions.push(args.slice(0, 4) as string[]);
    this.options.push(args[4]);
    return receipt(1);
  }

  /** Tokens that reads were to wait for. */
  readonly covers: string[] = [];

  async covered(token: string): Promise<void> {
    this.covers.push(token);
  }

  get(doc: string, key: string): VisibleFact | undefined {
    if (key !== "known") return undefined;
    return { doc, key, value: 1, contested: false } as unknown as VisibleFact;
  }

  candidates(): readonly never[] {
    return [];
  }

  links(): readonly never[] {
    return [];
  }

  list(query: ListQuery): readonly VisibleFact[] {
    this.queries.push(query);
    return [];
  }

  async getAt(
    doc: string,
    key: string,
    at: number,
    options: CallOff,
  ): Promise<VisibleFact | undefined> {
    await this.#remember([doc, key, at], options);
    return this.get(doc, key);
  }

  async listAt(query: ListQuery, at: number, options: CallOff): Promise<readonly VisibleFact[]> {
    await this.#remember([query, at], options);
    return this.list(query);
  }

  async history(
    doc: string,
    key: string,
    query: HistoryQuery,
    options: CallOff,
  ): Promise<KeyHistory> {
    await this.#remember([doc, key, query], options);
    return { entries: [], next: "3.1", reachesBack: { sinceMs: 7 } };
  }

  /** As a node does: until it has the answer, or is called off. */
  async #remember(question: readonly unknown[], options: CallOff): Promise<void> {
    this.past.push({ question, options });
    if (this.failure !== undefined) throw this.failure;
    const { promise: called, reject } = Promise.withResolvers<never>();
    options.signal?.addEventListener("abort", () => reject(options.signal?.reason));
    await Promise.race([this.remembering, called]);
  }

  watch(query: { doc?: string }, listener: (event: ChangeEvent) => void): () => void {
    if (query.doc === "bad doc") throw new MeshError("INPUT_INVALID", "malformed document name");
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  async status(): Promise<NodeStatus> {
    return { service: "agent" } as unknown as NodeStatus;
  }

  membership(): MembershipReport {
    return { space: "s", members: [] } as unknown as MembershipReport;
  }

  async addActs(records: readonly Uint8Array[]): Promise<ActsReceipt> {
    if (this.failure !== undefined) throw this.failure;
    this.acts.push(...records);
    const refused = [{ code: "SIGNATURE_INVALID", message: "forged" }];
    return { added: records.length - 1, refused };
  }

  spaceFile(): string {
    return '{ "exact":  "text" }\n';
  }

  evidence(): readonly EvidenceReport[] {
    return [{ device: "ab", incarnation: "cd", seq: 7, proof: "AAE=" }];
  }

  /** Tells every watcher. */
  emit(event: ChangeEvent): void {
    for (const listener of this.listeners) listener(event);
  }
}
