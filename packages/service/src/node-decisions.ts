// SPDX-License-Identifier: Apache-2.0
/** Decisions of an agent: signed by its device, linked as a chain, kept as facts. */
import { canonicalJson, parseCanonicalJson, utf8Decode, utf8Encode } from "@ctxmesh/codec";
import {
  DECISIONS_PER_DOCUMENT,
  DECISION_PREFIX,
  decisionDocument,
  factLeaf,
  leafDigest,
  parseDecision,
  signDecision,
} from "@ctxmesh/ledger";
import type { DecisionInput, DecisionRecord } from "@ctxmesh/ledger";
import { MeshError, parseDocumentName } from "@ctxmesh/model";
import type {
  Clock,
  DecisionOptions,
  DecisionReceipt,
  DecisionRequest,
  DecisionService,
  DeviceSigner,
  FactInput,
  JsonValue,
  WriteReceipt,
} from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { NodeWrites, WriteContent } from "./node-writes.ts";

/** What decisions are made of. */
export interface NodeDecisionsOptions {
  readonly replica: Pick<
    Replica,
    "candidates" | "device" | "get" | "incarnation" | "list" | "space"
  >;
  /** By which they are written. */
  readonly writes: Pick<NodeWrites, "run">;
  readonly device: DeviceSigner;
  readonly clock: Clock;
}

/** A decision in the chain; before the first there is number 0 without an id. */
interface Link {
  readonly counter: number;
  readonly id: string | undefined;
}

/** What is not the same for all records of a moment. */
type Content =
  | Pick<
      Extract<DecisionRecord, { kind: "decision" }>,
      "kind" | "model" | "inputs" | "checks" | "output"
    >
  | Pick<Extract<DecisionRecord, { kind: "outcome" }>, "kind" | "of" | "outcome">;

/** A decision, and where it is. */
type Recorded = Omit<DecisionReceipt, "write">;

/** More decisions than fit into one document. */
const LIST_LIMIT = 1_000;

/** The decisions of one agent. */
export class NodeDecisions implements DecisionService {
  readonly #options: NodeDecisionsOptions;
  /** The newest decision of this device; undefined until it was looked for. */
  #last: Link | undefined;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(options: NodeDecisionsOptions) {
    this.#options = options;
  }

  async decide(
    { model, inputs, checks, output }: DecisionRequest,
    options: DecisionOptions = {},
  ): Promise<DecisionReceipt> {
    // Looked up now, and not when its turn comes: this is what is known as the caller decides.
    const read = inputs.map(({ doc, key }) => this.#look(doc, key));
    return this.#record({ kind: "decision", model, inputs: read, checks, output }, options, [
      "decide",
      model,
      inputs,
      checks,
      output,
    ]);
  }

  async recordOutcome(
    of: string,
    outcome: JsonValue,
    options: DecisionOptions = {},
  ): Promise<DecisionReceipt> {
    return this.#record({ kind: "outcome", of, outcome }, options, ["outcome", of, outcome]);
  }

  /** What is known of a key now. */
  #look(doc: string, key: string): DecisionInput {
    const { replica } = this.#options;
    const name = parseDocumentName(doc);
    const fact = replica.get(name, key);
    if (fact === undefined) return { doc, key, version: "", ageMs: 0, statements: [] };
    const shown = replica.candidates(name, key).filter(({ standing }) => standing === "shown");
    return {
      doc,
      key,
      version: fact.version,
      ageMs: Math.max(0, Math.round(fact.ageMs)),
      statements: shown.map((one) => leafDigest(factLeaf(doc, key, one))),
    };
  }

  /** One after the other, since each names the one before it. `asked` is what makes it another one, for who repeats it. */
  async #record(
    content: Content,
    options: DecisionOptions,
    asked: WriteContent,
  ): Promise<DecisionReceipt> {
    const recorded = this.#queue.then(async () => {
      let made: Recorded | undefined;
      const write = await this.#options.writes.run(options, asked, async (replica, context) => {
        const { doc, fact, ...recording } = this.#sign(content);
        const receipt = await replica.put(parseDocumentName(doc), [fact], context);
        this.#last = recording;
        made = { ...recording, doc, key: fact.key };
        return receipt;
      });
      return { ...(made ?? this.#find(write)), write };
    });
    this.#queue = recorded.catch(() => undefined);
    return recorded;
  }

  /** The next one, as the fact that it is kept as. */
  #sign(content: Content): Omit<Recorded, "key"> & { readonly fact: FactInput } {
    const { replica, device, clock } = this.#options;
    const before = this.#last ?? this.#newest();
    const counter = before.counter + 1;
    const base = {
      space: replica.space.id,
      device: replica.device,
      incarnation: replica.incarnation,
      counter,
      previous: before.id ?? null,
      decidedAt: clock.now(),
    };
    const { id, envelope: bytes } = signDecision({ ...base, ...content }, device);
    const envelope = utf8Decode(bytes);
    const value = parseCanonicalJson(envelope, "decision");
    const source = content.kind === "decision" ? { source: content.model } : {};
    const fact = { key: `${DECISION_PREFIX}${id}`, value, tags: [content.kind], ...source };
    return { id, counter, envelope, doc: decisionDocument(replica.device, counter), fact };
  }

  /** The one that a write made before. Throws `NOT_FOUND` when it is shown no more. */
  #find({ hlc }: WriteReceipt): Recorded {
    const { replica } = this.#options;
    const newest = this.#last ?? this.#newest();
    for (let at = newest.counter; at > 0; at -= DECISIONS_PER_DOCUMENT) {
      const doc = decisionDocument(replica.device, at);
      const facts = replica
        .list({ doc, prefix: DECISION_PREFIX, limit: LIST_LIMIT })
        .filter(({ writer }) => writer === replica.device);
      const fact = facts.find((one) => one.hlc === hlc);
      const link = fact && linkOf(fact.value);
      if (link?.id !== undefined) {
        const envelope = canonicalJson(fact?.value ?? null);
        return {
          id: link.id,
          counter: link.counter,
          doc,
          key: `${DECISION_PREFIX}${link.id}`,
          envelope,
        };
      }
      // Those before it are older still.
      if (facts.length > 0 && facts.every((one) => one.hlc < hlc)) break;
    }
    throw new MeshError(
      "NOT_FOUND",
      "what was recorded under this idempotency key is shown no more",
      {
        field: "Idempotency-Key",
      },
    );
  }

  /** The newest decision in the store: the documents are filled one after the other. */
  #newest(): Link {
    const { replica } = this.#options;
    let newest: Link = { counter: 0, id: undefined };
    for (let first = 1; ; first += DECISIONS_PER_DOCUMENT) {
      const doc = decisionDocument(replica.device, first);
      const facts = replica.list({ doc, prefix: DECISION_PREFIX, limit: LIST_LIMIT });
      for (const { value, writer } of facts) {
        // Others may write here, too; and this device's own hand may have.
        if (writer !== replica.device) continue;
        const link = linkOf(value);
        if (link !== undefined && link.counter > newest.counter) newest = link;
      }
      if (newest.counter < first + DECISIONS_PER_DOCUMENT - 1) return newest;
    }
  }
}

function linkOf(value: JsonValue): Link | undefined {
  try {
    const { id, record } = parseDecision(utf8Encode(canonicalJson(value)));
    return { id, counter: record.counter };
  } catch {
    return undefined;
  }
}
