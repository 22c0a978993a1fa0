// SPDX-License-Identifier: Apache-2.0
/**
 * What tenants may take of a hub, and in which order: deficit round robin (Shreedhar and Varghese 1995) over those that wait, and a
 * token bucket for each. One that sends a hundred times as much waits behind itself, not the others behind it.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { Clock } from "@ctxmesh/model";

/** Bytes that a tenant may send in its turn; what it does not use of them, since its next message is larger, is kept for the next turn. */
const QUANTUM_BYTES = 16_384;
/** Bytes that are let through before others have the event loop: whoever has just sent something waits for no more than that and a turn of each other one. */
const PASS_BYTES = 32_768;
/** What a message costs at least, since it takes time however short it is. */
const LEAST_BYTES = 512;
/** How often it is looked whether a bucket has filled, in milliseconds. */
const REFILL_MS = 25;

interface Waiting {
  readonly cost: number;
  readonly resolve: () => void;
  readonly reject: (error: MeshError) => void;
}

interface Tenant {
  readonly waiting: Waiting[];
  connections: number;
  queuedBytes: number;
  deficit: number;
  /** Bytes in the bucket, as of `filledMs`. */
  bucket: number;
  filledMs: number;
}

/** How many tenants are made before those that are gone are looked for. */
const SWEEP_EVERY = 256;

/** The tenants of a hub. Those without connections and without anything that waits are forgotten some time after their bucket is full. */
export class Tenants {
  readonly #clock: Clock;
  readonly #tenants = new Map<string, Tenant>();
  /** Those with something that waits; the first has its turn. */
  #ring: Tenant[] = [];
  /** Bytes that go through at once before the event loop goes round, while nobody waits: else who sends one short message after the other would get one through each time. */
  #atOnceBytes = QUANTUM_BYTES;
  #isDue = false;
  #refill: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Counts a connection until the returned function is called. Throws `LIMIT_EXCEEDED` (`tenantConnections`). */
  connect(name: string): () => void {
    const tenant = this.#tenant(name);
    if (tenant.connections >= LIMITS.tenantConnections) {
      throw exceeded(`has ${String(LIMITS.tenantConnections)} connections (tenantConnections)`);
    }
    tenant.connections += 1;
    let isOpen = true;
    return () => {
      if (!isOpen) return;
      isOpen = false;
      tenant.connections -= 1;
      this.#forget(name, tenant);
    };
  }

  /**
   * Resolves when it is a message's turn; of one tenant in the order of the calls. Rejects with `LIMIT_EXCEEDED` (`tenantQueuedBytes`) when more of its tenant
   * waits than may, with `CLOSED` after {@link close}.
   */
  turn(name: string, bytes: number): Promise<void> {
    if (this.#isClosed) return Promise.reject(closed());
    const tenant = this.#tenant(name);
    const cost = Math.max(bytes, LEAST_BYTES);
    if (tenant.queuedBytes + cost > LIMITS.tenantQueuedBytes) {
      const limit = String(LIMITS.tenantQueuedBytes);
      return Promise.reject(exceeded(`has more than ${limit} bytes waiting (tenantQueuedBytes)`));
    }
    if (this.#isAtOnce(tenant, cost)) return Promise.resolve();
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (tenant.waiting.length === 0) this.#ring.push(tenant);
    tenant.waiting.push({ cost, resolve, reject });
    tenant.queuedBytes += cost;
    this.#pumpSoon();
    return promise;
  }

  /** Lets a message through, if nobody waits and it is not too much for now. */
  #isAtOnce(tenant: Tenant, cost: number): boolean {
    if (this.#ring.length > 0 || cost > this.#atOnceBytes) return false;
    this.#fill(tenant);
    if (tenant.bucket <= 0) return false;
    tenant.bucket -= cost;
    this.#atOnceBytes -= cost;
    this.#pumpSoon();
    return true;
  }

  /** Turns away whatever waits. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#refill);
    for (const { waiting } of this.#ring) for (const { reject } of waiting) reject(closed());
    this.#ring = [];
  }

  #tenant(name: string): Tenant {
    const known = this.#tenants.get(name);
    if (known !== undefined) return known;
    if (this.#tenants.size % SWEEP_EVERY === SWEEP_EVERY - 1) {
      for (const [other, idle] of this.#tenants) this.#forget(other, idle);
    }
    const filledMs = this.#clock.now();
    const bucket = LIMITS.tenantBurstBytes;
    const tenant = { waiting: [], connections: 0, queuedBytes: 0, deficit: 0, bucket, filledMs };
    this.#tenants.set(name, tenant);
    return tenant;
  }

  #forget(name: string, tenant: Tenant): void {
    this.#fill(tenant);
    const isIdle = tenant.connections === 0 && tenant.waiting.length === 0;
    if (isIdle && tenant.bucket >= LIMITS.tenantBurstBytes) this.#tenants.delete(name);
  }

  #fill(tenant: Tenant): void {
    const now = this.#clock.now();
    // A clock that goes back fills nothing.
    const passedMs = Math.max(0, now - tenant.filledMs);
    const filled = tenant.bucket + (passedMs * LIMITS.tenantBytesPerSecond) / 1_000;
    tenant.bucket = Math.min(LIMITS.tenantBurstBytes, filled);
    tenant.filledMs = now;
  }

  #pumpSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    // Whoever has just come does not wait for the buckets of others.
    clearTimeout(this.#refill);
    setImmediate(() => {
      this.#isDue = false;
      this.#pump();
    });
  }

  /** Lets through what fits into one pass. */
  #pump(): void {
    this.#atOnceBytes = QUANTUM_BYTES;
    let left = PASS_BYTES;
    let idleTurns = 0;
    while (left > 0 && this.#ring.length > 0 && idleTurns < this.#ring.length) {
      const [tenant] = this.#ring.splice(0, 1) as [Tenant];
      this.#fill(tenant);
      const served = this.#serve(tenant);
      left -= served;
      // Who has an empty bucket gets no deficit for it, and no other waits for that.
      idleTurns = served > 0 || tenant.bucket > 0 ? 0 : idleTurns + 1;
      if (tenant.waiting.length > 0) this.#ring.push(tenant);
    }
    if (this.#ring.length === 0) return;
    if (left <= 0) this.#pumpSoon();
    else this.#refill = setTimeout(() => this.#pumpSoon(), REFILL_MS);
  }

  /** One turn of a tenant; returns what went through. */
  #serve(tenant: Tenant): number {
    if (tenant.bucket <= 0) return 0;
    tenant.deficit += QUANTUM_BYTES;
    let served = 0;
    for (let [next] = tenant.waiting; next !== undefined; [next] = tenant.waiting) {
      if (next.cost > tenant.deficit || tenant.bucket <= 0) break;
      tenant.waiting.shift();
      tenant.deficit -= next.cost;
      tenant.queuedBytes -= next.cost;
      // It may go below zero by one message, which then is waited for.
      tenant.bucket -= next.cost;
      served += next.cost;
      next.resolve();
    }
    if (tenant.waiting.length === 0) tenant.deficit = 0;
    return served;
  }
}

const exceeded = (what: string): MeshError => new MeshError("LIMIT_EXCEEDED", `the tenant ${what}`);
const closed = (): MeshError => new MeshError("CLOSED", "the hub stops");
