// SPDX-License-Identifier: Apache-2.0
/** Whichever hub seals is suspended or killed, the others take over, and whoever was away seals at the same moment as the one that did. */
import { setTimeout as sleep } from "node:timers/promises";
import { toMeshError } from "@ctxmesh/model";
import type { SealReceipt } from "@ctxmesh/model";
import { createSeededRandom, waitFor } from "@ctxmesh/testing";
import type { PostgresServer } from "../../packages/engine-postgres/test/server.ts";
import type { HubMesh } from "./hub-mesh.ts";
import type { HubNode } from "./hub-node.ts";
import { auditSeals } from "./seal-audit.ts";
import type { SealAudit } from "./seal-audit.ts";

const WAIT_MS = 60_000;
const ACK_MS = 30_000;
/** How often hubs are asked who seals: seldom enough to leave the machine to them. */
const LOOK_MS = 50;
/** A seal of so little is made within this time, in milliseconds; the fault comes at any moment of it. */
const IN_FLIGHT_MS = 100;

/** How one takeover went. */
export interface Takeover {
  /** From the stop or the death of the one to a seal of the other, in milliseconds. */
  readonly tookMs: number;
  /** What came of the seals that were asked for: of the one that was under way if there was one, and of two at once afterwards. Sequences, or codes of errors. */
  readonly outcomes: readonly (number | string)[];
}

/** Takeovers on one mesh, and every seal that a hub said it had made. */
export class SealerTrial {
  readonly #mesh: HubMesh;
  readonly #server: PostgresServer;
  readonly #receipts: SealReceipt[] = [];
  readonly #random = createSeededRandom(8);
  #takeovers = 0;

  constructor(mesh: HubMesh, server: PostgresServer) {
    this.#mesh = mesh;
    this.#server = server;
  }

  /** Suspends the hub that seals, every second time in the midst of a seal, until another one has sealed; then both seal at once. */
  async pause(): Promise<Takeover> {
    const leader = await this.#next();
    const isSealing = this.#takeovers % 2 === 1;
    const underWay = isSealing ? [this.#seal(leader)] : [];
    if (isSealing) await sleep(this.#chance(IN_FLIGHT_MS));
    leader.signal("SIGSTOP");
    const { tookMs, next } = await this.#takeover(leader);
    leader.signal("SIGCONT");
    const outcomes = await Promise.all([...underWay, this.#seal(leader), this.#seal(next)]);
    return { tookMs, outcomes };
  }

  /** Kills the hub that seals, in the midst of a seal, and starts it again once another one has sealed. */
  async kill(): Promise<Takeover> {
    const leader = await this.#next();
    const underWay = this.#seal(leader);
    await sleep(this.#chance(IN_FLIGHT_MS));
    await leader.kill();
    const { tookMs, next } = await this.#takeover(leader);
    await leader.start();
    const outcomes = await Promise.all([underWay, this.#seal(leader), this.#seal(next)]);
    return { tookMs, outcomes };
  }

  /** Looks at all seals that there are, and at some, taken at random, with `ctxmesh verify`. */
  async audit(samples: number): Promise<SealAudit & { readonly epoch: number }> {
    const [row] = await this.#server.sql(
      "SELECT (SELECT epoch FROM ctxmesh_lease WHERE space = (SELECT DISTINCT space FROM ctxmesh_shared))::INT AS epoch, (SELECT count(DISTINCT substr(key, 1, 9)) FROM ctxmesh_shared WHERE get_byte(key, 0) = 33)::INT AS seals",
    );
    const { epoch, seals } = row as { epoch: number; seals: number };
    const chosen = new Set<number>();
    while (chosen.size < Math.min(samples, seals)) chosen.add(1 + this.#chance(seals));
    const audit = await auditSeals(this.#mesh.dir, this.#server, this.#receipts, [...chosen]);
    return { ...audit, epoch };
  }

  #chance(below: number): number {
    const [a = 0, b = 0] = this.#random.bytes(2);
    return Math.floor(((a * 256 + b) * below) / 65_536);
  }

  /** Something new to seal, and whoever seals. */
  async #next(): Promise<HubNode> {
    this.#takeovers++;
    const fact = { key: "takeover", value: this.#takeovers };
    await this.#mesh.agents[0]?.client.put("trial", fact, { ack: "hub", timeoutMs: ACK_MS });
    return this.#leaderOf(this.#mesh.hubs, () => Promise.resolve(true));
  }

  async #takeover(from: HubNode): Promise<{ readonly tookMs: number; readonly next: HubNode }> {
    const sinceMs = performance.now();
    const others = this.#mesh.hubs.filter((hub) => hub !== from);
    // On a machine that is busy, one may lose the lease again before it gets to it.
    const next = await this.#leaderOf(
      others,
      async (hub) => typeof (await this.#seal(hub)) === "number",
    );
    return { tookMs: performance.now() - sinceMs, next };
  }

  async #leaderOf(
    hubs: readonly HubNode[],
    suits: (hub: HubNode) => Promise<boolean>,
  ): Promise<HubNode> {
    let leader: HubNode | undefined;
    await waitFor(
      async () => {
        await sleep(LOOK_MS);
        const statuses = await Promise.all(hubs.map(async ({ client }) => client.status()));
        const found = hubs[statuses.findIndex(({ engine }) => engine?.sealingEpoch !== undefined)];
        if (found !== undefined && (await suits(found))) leader = found;
        return leader !== undefined;
      },
      { timeoutMs: WAIT_MS, what: "a hub to seal" },
    );
    if (leader === undefined) throw new Error("nobody seals");
    return leader;
  }

  /** The sequence of a seal, or why there is none. */
  async #seal({ client }: HubNode): Promise<number | string> {
    try {
      const receipt = await client.seal();
      this.#receipts.push(receipt);
      return receipt.sequence;
    } catch (error) {
      return toMeshError(error).code;
    }
  }
}
