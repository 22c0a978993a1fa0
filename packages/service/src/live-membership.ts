// SPDX-License-Identifier: Apache-2.0
import { isWelcome, roleAt } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import type { Access, Clock, DeviceKey } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import type { SyncNode } from "@ctxmesh/sync";

/** Who may connect to a node at this moment: by the space file until its replica is open, then by all that it knows. */
export class LiveMembership {
  readonly #clock: Clock;
  #space: () => Space;
  #isBarred: (device: string) => boolean = () => false;

  constructor(bootstrap: Space, clock: Clock) {
    this.#clock = clock;
    this.#space = () => bootstrap;
  }

  /** Goes by a replica's space, and by whom its sync node has barred, from now on. */
  follow(replica: Pick<Replica, "space">, sync: Pick<SyncNode, "isBarred">): void {
    this.#space = () => replica.space;
    this.#isBarred = (device) => sync.isBarred(device);
  }

  /** Whether a device, hex, may connect; with `service` only as that. Never a revoked or a barred one. */
  welcomes(device: string, service?: "agent" | "hub"): boolean {
    return (
      isWelcome(this.#space(), device as DeviceKey, this.#clock.now(), service) &&
      !this.#isBarred(device)
    );
  }

  /** What a device, hex, may do with the content of the space at this moment; undefined for nothing. */
  access(device: string): Access | undefined {
    const space = this.#space();
    const key = device as DeviceKey;
    const role = space.revocations.has(key) ? undefined : roleAt(space, key, this.#clock.now());
    if (role === undefined) return undefined;
    return role === "read" ? "read" : "write";
  }
}
