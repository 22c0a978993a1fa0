// SPDX-License-Identifier: Apache-2.0
/** What goes over lines, and what replicas make of it: measured around the ports, outside of what is simulated. */
import type { Channel } from "@ctxmesh/model";
import type { SyncReplica } from "@ctxmesh/sync";
import type { Counted } from "../report/report.ts";
import type { Collaborators } from "../world.ts";

/** What came out of one direction of a line. */
export interface Arrived {
  messages: number;
  bytes: number;
}

async function* counted(
  messages: AsyncIterable<Uint8Array>,
  arrived: Arrived,
): AsyncGenerator<Uint8Array> {
  for await (const message of messages) {
    arrived.messages += 1;
    arrived.bytes += message.length;
    yield message;
  }
}

/** Counts messages and outcomes. */
export class TrafficRecorder {
  readonly #arrived = new Map<string, Arrived>();
  readonly #outcomes = new Map<string, number>();

  /** What it puts around the parts of each node. */
  readonly wrap: Collaborators = {
    channel: (node, channel) => this.#channel(node, channel),
    syncReplica: (_, replica) => this.#replica(replica),
  };

  #channel(node: string, channel: Channel): Channel {
    const arrived = this.arrived(channel.remote.address, node);
    return {
      remote: channel.remote,
      get bufferedBytes() {
        return channel.bufferedBytes;
      },
      send: async (message) => channel.send(message),
      receive: () => counted(channel.receive(), arrived),
      close: async (reason) => channel.close(reason),
    };
  }

  #replica(replica: SyncReplica): SyncReplica {
    const bound = new Map<PropertyKey, unknown>();
    const receive: SyncReplica["receive"] = async (batch, source) => {
      const outcome = await replica.receive(batch, source);
      const what = "reason" in outcome ? `${outcome.kind}: ${outcome.reason}` : outcome.kind;
      this.#outcomes.set(what, (this.#outcomes.get(what) ?? 0) + 1);
      return outcome;
    };
    bound.set("receive", receive);
    return new Proxy(replica, {
      get: (target, name) => {
        const known = bound.get(name);
        if (known !== undefined) return known;
        // The replica has private members, so that its methods need the replica itself.
        const value: unknown = Reflect.get(target, name, target);
        if (typeof value !== "function") return value;
        const method: unknown = value.bind(target);
        bound.set(name, method);
        return method;
      },
    });
  }

  /** What arrived from one node at another. */
  arrived(from: string, to: string): Arrived {
    const id = `${from}\n${to}`;
    const arrived = this.#arrived.get(id) ?? { messages: 0, bytes: 0 };
    this.#arrived.set(id, arrived);
    return arrived;
  }

  /** Received batches by what became of them, most first. */
  outcomes(): readonly Counted[] {
    return countedOf(this.#outcomes);
  }
}

/** Numbers by name, greatest first. */
export const countedOf = (counts: ReadonlyMap<string, number>): readonly Counted[] =>
  [...counts]
    .map(([what, count]) => ({ what, count }))
    .toSorted((a, b) => b.count - a.count || (a.what < b.what ? -1 : 1));
