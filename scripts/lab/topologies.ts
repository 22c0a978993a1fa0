// SPDX-License-Identifier: Apache-2.0
/** Networks that are built of namespaces. */
import type { Namespaces } from "./namespaces.ts";

/** A namespace with one interface, `eth0`, where a program runs. */
export interface Host {
  readonly name: string;
  readonly address: string;
  /** Number of its network. */
  readonly lan: number;
}

/** The network of a LAN: `10.77.<lan>.0/24`, in which the router is .1 and hosts begin with .11. */
export const network = (lan: number): string => `10.77.${String(lan)}.0/24`;
const router = (lan: number): string => `10.77.${String(lan)}.1`;

/** The namespace that joins the networks. */
export const ROUTER = "router";

/**
 * Builds LANs with so many hosts each, joined by one router with a table `inet lab` and, in it, an empty chain
 * `forward`: where what goes from LAN to LAN can be dropped.
 */
export async function buildLans(
  namespaces: Namespaces,
  sizes: readonly number[],
): Promise<readonly Host[]> {
  await namespaces.add(ROUTER);
  await namespaces.forward(ROUTER);
  const hosts: Host[] = [];
  for (const [i, size] of sizes.entries()) {
    const lan = i + 1;
    const here = Array.from({ length: size }, (_, n) => ({
      name: `h${String(lan)}-${String(n + 1)}`,
      address: `10.77.${String(lan)}.${String(11 + n)}`,
      lan,
    }));
    for (const { name, address } of here) {
      await namespaces.add(name);
      await namespaces.cable(
        { at: name, device: "eth0", address: `${address}/24` },
        { at: ROUTER, device: name },
      );
      await namespaces.ip(name, "route", "add", "default", "via", router(lan));
    }
    const cables = here.map(({ name }) => name);
    await namespaces.bridge(ROUTER, `lan${String(lan)}`, `${router(lan)}/24`, cables);
    hosts.push(...here);
  }
  await namespaces.nft(
    ROUTER,
    "add table inet lab\nadd chain inet lab forward { type filter hook forward priority 0 ; }",
  );
  return hosts;
}

const drop = (source: number, target: number): string =>
  `add rule inet lab forward ip saddr ${network(source)} ip daddr ${network(target)} drop`;

/** Drops, without a word, what goes from one LAN to another, in one direction or both. */
export async function part(
  namespaces: Namespaces,
  from: number,
  to: number,
  ways: "one" | "both",
): Promise<void> {
  await namespaces.nft(ROUTER, drop(from, to));
  if (ways === "both") await namespaces.nft(ROUTER, drop(to, from));
}

/** Lets everything pass again. */
export async function heal(namespaces: Namespaces): Promise<void> {
  await namespaces.nft(ROUTER, "flush chain inet lab forward");
}
