// SPDX-License-Identifier: Apache-2.0
/** What readers see: at each look every key is read from the real replica, and compared with all that was ever said about it. */
import { parseDocumentName } from "@ctxmesh/model";
import type { DeviceKey, DocumentName } from "@ctxmesh/model";
import { Samples, rounded } from "../report/stats.ts";
import type { ReaderRow, Timeline } from "../report/report.ts";
import type { Acknowledged, World } from "../world.ts";
import { KeyStatements } from "./chains.ts";
import { keysRead } from "./parse-work.ts";
import type { Scenario, ScenarioReader } from "./scenario.ts";

interface Place {
  readonly reader: ScenarioReader;
  readonly node: string;
  readonly doc: DocumentName;
  readonly keys: readonly string[];
  readonly staleness: Samples;
  /** The greatest staleness of each look. */
  readonly worst: Samples;
  looks: number;
  unanswered: number;
  read: number;
  contested: number;
}

/** Follows every reader at every one of its nodes. */
export class ReadRecorder {
  readonly #places: readonly Place[];
  readonly #statements = new Map<string, KeyStatements>();
  readonly #durationMs: number;
  /** By reader, then part of the run. */
  readonly #worst = new Map<string, (number | null)[]>();
  readonly #buckets: number;

  constructor(scenario: Scenario, buckets: number) {
    this.#durationMs = scenario.durationMs;
    this.#buckets = buckets;
    this.#places = scenario.readers.flatMap((reader) => {
      const keys = keysRead(reader, scenario.writers);
      const doc = parseDocumentName(reader.document);
      this.#worst.set(
        reader.name,
        Array.from({ length: buckets }, () => null),
      );
      return reader.nodes.map((node) => ({
        reader,
        node,
        doc,
        keys,
        staleness: new Samples(),
        worst: new Samples(),
        looks: 0,
        unanswered: 0,
        read: 0,
        contested: 0,
      }));
    });
  }

  /** A statement is durable somewhere. */
  written({ doc, key, device, receipt, atMs }: Acknowledged): void {
    if (key === undefined) return;
    const id = `${doc}\n${key}`;
    const statements = this.#statements.get(id) ?? new KeyStatements();
    this.#statements.set(id, statements);
    statements.add(device, receipt.incarnation, receipt.seq, atMs);
  }

  /** A reader looks, at a node. */
  look(client: string, node: string, world: World, revoked: ReadonlySet<DeviceKey>): void {
    const place = this.#places.find(
      ({ reader, node: at }) => reader.name === client && at === node,
    );
    if (place === undefined) return;
    const { doc, keys, reader } = place;
    const process = world.node(node)?.process;
    if (process === undefined) {
      place.unanswered += 1;
      return;
    }
    place.looks += 1;
    const heldMs = Math.min(reader.everyMs, this.#durationMs - world.nowMs);
    let worst = 0;
    for (const key of keys) {
      const fact = process.replica.get(doc, key);
      if (fact !== undefined) place.read += 1;
      if (fact?.contested === true) place.contested += 1;
      const statements = this.#statements.get(`${doc}\n${key}`);
      // Nothing was said yet, so there is nothing to be behind of.
      if (statements === undefined) continue;
      const since = statements.supersededMs(process.replica, revoked);
      const stale = since === undefined ? 0 : world.nowMs - since;
      place.staleness.add(stale, heldMs);
      worst = Math.max(worst, stale);
    }
    place.worst.add(worst, heldMs);
    this.#draw(reader.name, world.nowMs, worst);
  }

  #draw(name: string, nowMs: number, worst: number): void {
    const series = this.#worst.get(name) ?? [];
    const bucket = Math.min(
      this.#buckets - 1,
      Math.floor((nowMs / this.#durationMs) * this.#buckets),
    );
    series[bucket] = rounded(Math.max(series[bucket] ?? 0, worst));
  }

  /** A row for each reader and node. */
  rows(): readonly ReaderRow[] {
    return this.#places.map((place) => {
      const { reader, node, looks, unanswered, staleness, worst, read, contested } = place;
      return {
        name: reader.name,
        node,
        looks,
        unanswered,
        ...staleness.spread(),
        freshShare: rounded(worst.share((ms) => ms === 0)),
        contestedShare: read === 0 ? 0 : rounded(contested / read),
      };
    });
  }

  series(): Timeline["readers"] {
    return [...this.#worst].map(([name, ms]) => ({ name, ms }));
  }
}
