// SPDX-License-Identifier: Apache-2.0
/** One hub as a process, whose endpoint for Yjs clients takes the tokens of an issuer of its own. */
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import process from "node:process";
import { createDevIssuer } from "@ctxmesh/auth";
import { createSigner, generatePrivateKey } from "@ctxmesh/crypto";
import { createHub } from "@ctxmesh/hub";
import type { Hub } from "@ctxmesh/hub";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";
import { serveCalls } from "../../bench/workers/calls.ts";
import { foundSpace } from "../../bench/space.ts";

const AUDIENCE = "https://hub.test";
let hub: Hub | undefined;

/** What clients need. */
export interface TenantHub {
  /** For a provider. */
  readonly url: string;
  /** One for each tenant. */
  readonly tokens: readonly string[];
}

const signerOf = (suite: Parameters<typeof generatePrivateKey>[0]) =>
  createSigner(generatePrivateKey(suite, systemRandom));

async function start({
  folder,
  tenants,
}: {
  readonly folder: string;
  readonly tenants: readonly string[];
}): Promise<TenantHub> {
  const { space, seeds } = foundSpace(1, 1);
  const issuer = await createDevIssuer(AUDIENCE, systemClock);
  hub = await createHub(
    {
      version: "0.0.0",
      space,
      deviceSeed: seeds[1] ?? new Uint8Array(),
      storePath: join(folder, "store"),
      socketPath: join(folder, "hub.sock"),
      listen: { host: "127.0.0.1", port: 0 },
      seal: {
        signer: signerOf("ML-DSA-65-Ed25519"),
        log: {
          origin: "log.test/trial",
          signers: { ed25519: signerOf("Ed25519"), mldsa44: signerOf("ML-DSA-44") },
        },
      },
      auth: { issuer: issuer.issuer, audience: AUDIENCE, keys: issuer.keys },
    },
    { clock: systemClock, random: systemRandom, logger: silentLogger },
  );
  const { host } = new URL(hub.addresses()[0] ?? "");
  const tokens = await Promise.all(
    tenants.map(async (tenant) =>
      issuer.issue({
        subject: tenant,
        tenant,
        roles: [{ space: space.id, prefix: `${tenant}/`, access: "write" }],
      }),
    ),
  );
  return { url: `ws://${host}/yjs/${space.id}`, tokens };
}

const late = monitorEventLoopDelay({ resolution: 1 });
let since = { ms: performance.now(), cpu: process.cpuUsage() };

/** What the hub had to do since this was last asked. */
export interface HubLoad {
  /** Share of a core. */
  readonly cores: number;
  /** How late its event loop was, in milliseconds. */
  readonly lateP99Ms: number;
}

function load(): HubLoad {
  const { user, system } = process.cpuUsage(since.cpu);
  const cores = (user + system) / 1_000 / (performance.now() - since.ms);
  const lateP99Ms = late.percentile(99) / 1e6;
  late.reset();
  late.enable();
  since = { ms: performance.now(), cpu: process.cpuUsage() };
  return { cores: Math.round(cores * 100) / 100, lateP99Ms: Math.round(lateP99Ms) };
}

serveCalls({ start, load }, async () => hub?.stop());
