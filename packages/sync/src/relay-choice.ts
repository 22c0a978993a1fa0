// SPDX-License-Identifier: Apache-2.0
/**
 * Who passes whose batches on to whom.
 *
 * A device pushes its own batches to each of its peers, or gossips them. Those of a device that it does not hear by itself, a
 * node wants pushed by one peer: the one that was first to bring them (Leitão, Pereira, Rodrigues, "Epidemic Broadcast
 * Trees", SRDS 2007, one tree for each writer). It tells each peer which devices' batches it wants of it, `here`, and which
 * reach it on other ways, `elsewhere`; a peer pushes the former at once and names the latter late. So a node gets a batch by one
 * push, over as few links as batches have taken lately; and who is chosen and does not deliver is left for
 * whoever does, as soon as the slow way, news and a pull, has brought two batches in a row.
 */
import { LIMITS } from "@ctxmesh/model";

/** Hex digits of a device key by which a peer is told of a device: its first 8 bytes. */
export const PREFIX_DIGITS = 16;

/** The name of a device in {@link Routes}. `device`: its key, hex. */
export const prefixOf = (device: string): string => device.slice(0, PREFIX_DIGITS);

/** Whose batches a node wants of a peer, and whose it gets elsewhere, by {@link prefixOf}; of all others it wants news. */
export interface Routes {
  readonly here: ReadonlySet<string>;
  readonly elsewhere: ReadonlySet<string>;
}

/** What a peer that has said nothing wants: news of everything. */
export const NO_ROUTES: Routes = { here: new Set(), elsewhere: new Set() };

/** Whoever brought a batch before anybody else did. */
export interface Bringer {
  /** A peer's device key, hex, or the name of a broadcast. */
  readonly name: string;
  /** It brings them without being asked: the writer itself, a hub, a broadcast. */
  readonly unasked: boolean;
}

/** What came by broadcast. */
export const BROADCAST: Bringer = { name: "broadcast", unasked: true };

/** How a device's batches come. */
interface Way {
  readonly via: Bringer;
  /** Who else brought the last one first. */
  readonly rival: string | undefined;
}

/** On which way the batches of each device come to this node, `LIMITS.routedDevices` at most; the one heard longest ago is forgotten. */
export class RouteTable {
  /** By {@link prefixOf}, the device heard last at the end. */
  readonly #ways = new Map<string, Way>();
  #changed = false;

  /** Number of devices. */
  get size(): number {
    return this.#ways.size;
  }

  /** Whether peers may have to be told something else than at the last call. */
  takeChanged(): boolean {
    const changed = this.#changed;
    this.#changed = false;
    return changed;
  }

  /**
   * A batch of a device, hex, was new, and this is who brought it. Whoever brings such batches unasked is preferred at once, since they
   * come anyway; another peer after two in a row, so that one late push changes nothing.
   */
  heard(device: string, from: Bringer): void {
    const key = prefixOf(device);
    const way = this.#ways.get(key);
    const next = wayAfter(way, from);
    this.#changed ||= next.via !== way?.via;
    this.#ways.delete(key);
    this.#ways.set(key, next);
    if (this.#ways.size <= LIMITS.routedDevices) return;
    const [oldest = key] = this.#ways.keys();
    this.#ways.delete(oldest);
    this.#changed = true;
  }

  /** A peer is gone; what it brought comes on no way that is known. */
  lost(name: string): void {
    for (const [key, { via, rival }] of this.#ways) {
      if (via.name === name) {
        this.#ways.delete(key);
        this.#changed = true;
      } else if (rival === name) {
        this.#ways.set(key, { via, rival: undefined });
      }
    }
  }

  /** What a peer is to be told. A device itself needs nothing said about its own batches. */
  routesFor(peer: string): Routes {
    const [here, elsewhere] = [new Set<string>(), new Set<string>()];
    const self = prefixOf(peer);
    for (const [key, { via }] of this.#ways) {
      if (key === self) continue;
      if (via.name !== peer) elsewhere.add(key);
      else if (!via.unasked) here.add(key);
    }
    return { here, elsewhere };
  }
}

function wayAfter(way: Way | undefined, from: Bringer): Way {
  if (way === undefined) return { via: from, rival: undefined };
  if (way.via.name === from.name) {
    return way.rival === undefined ? way : { via: way.via, rival: undefined };
  }
  return from.unasked || way.rival === from.name
    ? { via: from, rival: undefined }
    : { via: way.via, rival: from.name };
}

/** A batch on its way to one peer. */
export interface Passage {
  /** The device that wrote it, hex. */
  readonly writer: string;
  /** Written here. */
  readonly local: boolean;
  /** The peer gets it by broadcast. */
  readonly covered: boolean;
  /** What the peer has said. */
  readonly routes: Routes;
  /** Whether this node pushes everything on, as hubs do. */
  readonly pushesAll: boolean;
  /** The peer has so much to read that a push would only wait. */
  readonly busy: boolean;
}

/**
 * How a peer gets a batch that it is not known to have: pushed; named in the next news; or named late, since it should get
 * it on another way and news only repair.
 */
export function passageOf({
  writer,
  local,
  covered,
  routes,
  pushesAll,
  busy,
}: Passage): "push" | "tell" | "late" {
  if (covered) return "late";
  const prefix = prefixOf(writer);
  if (local || pushesAll || routes.here.has(prefix)) return busy ? "tell" : "push";
  return routes.elsewhere.has(prefix) ? "late" : "tell";
}
