// SPDX-License-Identifier: Apache-2.0
/** Two tenants at one hub, one of which wants a hundred times as much. */
import { fileURLToPath } from "node:url";
import { tempDir } from "@ctxmesh/testing";
import { startChild } from "../bench/children.ts";
import type { Child } from "../bench/children.ts";
import { percentileMs, say } from "./trial.ts";
import type { Trial } from "./trial.ts";
import type { Beats, Providers } from "./workers/tenant-client.ts";
import type { TenantHub } from "./workers/tenant-hub.ts";

const PER_SECOND = 20;
const TIMES = 100;
/** Documents of the large tenant, over which its writes are spread. */
const DOCUMENTS = 20;

/** Of each half of a round; in turns, since a machine is not as busy at all times. */
const SECONDS = 5;

interface Written {
  readonly written: number;
  readonly tookMs: readonly number[];
}

const program = (name: string): string =>
  fileURLToPath(new URL(`workers/${name}.ts`, import.meta.url));

async function openClient(
  client: Child,
  providers: Omit<Providers, "url"> & { readonly url: string },
): Promise<(beats: Beats) => Promise<Written>> {
  await client.call("open", providers);
  return async (beats) => (await client.call("write", beats)) as Written;
}

const beatsOf = (perSecond: number): Beats => ({ perSecond, seconds: SECONDS });

/** What was measured in several rounds. */
class Measured {
  #written = 0;
  readonly #tookMs: number[] = [];
  #load: unknown;

  add({ written, tookMs }: Written, load: unknown): void {
    this.#written += written;
    this.#tookMs.push(...tookMs);
    this.#load = load;
  }

  /** Whether all that was written was read. */
  get isComplete(): boolean {
    return this.#tookMs.length === this.#written;
  }

  get p99(): number {
    return percentileMs(this.#tookMs, 0.99) ?? 0;
  }

  /** With what the hub had to do in the last round. */
  figures(): Readonly<Record<string, unknown>> {
    const p50 = percentileMs(this.#tookMs, 0.5);
    return { written: this.#written, p50, p99: this.p99, hub: this.#load };
  }
}

export const tenants: Trial = {
  name: "tenants",
  what: "two tenants write through the endpoint for Yjs clients, one a hundred times as much: how long the other waits, alone and beside it",
  counts: "rounds",
  count: 6,
  run: async (rounds) => {
    await using dir = await tempDir();
    const { signal } = new AbortController();
    await using hub = startChild("hub", signal, { program: program("tenant-hub") });
    const names = ["small", "large"];
    const { url, tokens } = (await hub.call("start", {
      folder: dir.path,
      tenants: names,
    })) as TenantHub;
    await using one = startChild("client", signal, { program: program("tenant-client") });
    await using other = startChild("client", signal, { program: program("tenant-client") });
    const [token = "", otherToken = ""] = tokens;
    const small = await openClient(one, { url, token, tenant: "small", documents: 1 });
    const large = await openClient(other, {
      url,
      token: otherToken,
      tenant: "large",
      documents: DOCUMENTS,
    });
    const perSecond = (PER_SECOND * TIMES) / DOCUMENTS;
    await Promise.all([small, large].map(async (write) => write(beatsOf(PER_SECOND))));
    const [alone, beside, much] = [new Measured(), new Measured(), new Measured()];
    for (let round = 1; round <= rounds; round++) {
      await hub.call("load");
      alone.add(await small(beatsOf(PER_SECOND)), await hub.call("load"));
      const both = await Promise.all([small(beatsOf(PER_SECOND)), large(beatsOf(perSecond))]);
      const load = await hub.call("load");
      beside.add(both[0], load);
      much.add(both[1], load);
      say(`round ${String(round)}: ${JSON.stringify([alone.figures(), beside.figures()])}`);
    }
    return {
      isSound: alone.isComplete && beside.isComplete,
      figures: {
        alone: alone.figures(),
        beside: beside.figures(),
        large: much.figures(),
        p99Ratio: Math.round((100 * beside.p99) / alone.p99) / 100,
      },
    };
  },
};
