// SPDX-License-Identifier: Apache-2.0
/** A node's changes as CloudEvents. */
import { formatInstant, hlcToMs } from "@ctxmesh/model";
import type {
  EventData,
  EventItem,
  EventQuery,
  EventService,
  EventStreamOptions,
  EventType,
  FactEvent,
  JsonValue,
} from "@ctxmesh/model";
import { formatPosition, isBegins, isRejudged } from "@ctxmesh/replica";
import type { ChangeItem, FactChange, Replica } from "@ctxmesh/replica";

/** 9999-12-31T23:59:59.999Z, the last moment that RFC 3339 can name. */
const LAST_MS = 253_402_300_799_999;

const parsed = (json: string): JsonValue => JSON.parse(json) as JsonValue;

function typeOf({ retract, valueJson }: FactChange["record"]): EventType {
  if (retract !== undefined) return "dev.ctxmesh.fact.retracted";
  return valueJson === undefined ? "dev.ctxmesh.fact.deleted" : "dev.ctxmesh.fact.put";
}

function dataOf({ doc, record, previousJson, currentJson }: FactChange): EventData {
  const { key, valueJson, tags, basis, targets, retract } = record;
  return {
    doc,
    key,
    ...(valueJson === undefined ? {} : { value: parsed(valueJson) }),
    ...(previousJson === undefined ? {} : { previous: parsed(previousJson) }),
    ...(currentJson === undefined ? {} : { current: parsed(currentJson) }),
    ...(tags === undefined ? {} : { tags }),
    ...(basis === undefined ? {} : { basis }),
    ...(targets === undefined ? {} : { targets }),
    ...(retract === undefined ? {} : { retracts: retract }),
  };
}

/** The attributes that only some facts have. */
function extensionsOf({ record }: FactChange): Partial<FactEvent> {
  const { source, confidence, ttlMs, correlation, traceparent, hlc } = record;
  const expiryMs = hlcToMs(hlc) + (ttlMs ?? Number.POSITIVE_INFINITY);
  return {
    ...(source === undefined ? {} : { model: source.model }),
    ...(source?.version === undefined ? {} : { modelversion: source.version }),
    ...(source?.instance === undefined ? {} : { modelinstance: source.instance }),
    ...(confidence === undefined ? {} : { confidence: String(confidence) }),
    ...(ttlMs === undefined ? {} : { ttl: String(ttlMs) }),
    ...(expiryMs > LAST_MS ? {} : { expirytime: formatInstant(expiryMs) }),
    ...(correlation === undefined ? {} : { correlationid: correlation }),
    ...(traceparent === undefined ? {} : { traceparent }),
  };
}

/** The event of a change, of a space and in the log of that name, both hex. */
export function eventOf(change: FactChange, space: string, log: string): FactEvent {
  const { hash, section, record, writer, incarnation, priority, doc } = change;
  return {
    specversion: "1.0",
    id: `${hash}/${String(section)}/${String(record.seq)}`,
    source: `urn:ctxmesh:device:${space}:${writer}`,
    type: typeOf(record),
    subject: `${doc}/${record.key}`,
    time: formatInstant(hlcToMs(record.hlc)),
    datacontenttype: "application/json",
    position: formatPosition(log, change),
    hlc: String(record.hlc),
    incarnation,
    priority,
    ...extensionsOf(change),
    data: dataOf(change),
  };
}

/** The events of one replica. */
export class NodeEvents implements EventService {
  readonly #replica: Pick<Replica, "changes" | "space">;

  constructor(replica: Pick<Replica, "changes" | "space">) {
    this.#replica = replica;
  }

  async *events(
    query: EventQuery,
    options: EventStreamOptions = {},
  ): AsyncGenerator<readonly EventItem[], void, undefined> {
    const { changes, space } = this.#replica;
    const itemOf = (item: ChangeItem): EventItem => {
      if (isBegins(item)) return { begin: item.position };
      return isRejudged(item) ? { rejudged: true } : eventOf(item, space.id, changes.name);
    };
    for await (const part of changes.read(query, options)) yield part.map(itemOf);
  }
}
