// SPDX-License-Identifier: Apache-2.0
/** One hub as a process, which also measures what arrives. */
import { join } from "node:path";
import { createDevIssuer } from "@ctxmesh/auth";
import { createDeviceVerifier, createSigner, generatePrivateKey } from "@ctxmesh/crypto";
import { openPostgresEngine } from "@ctxmesh/engine-postgres";
import { createHub } from "@ctxmesh/hub";
import type { Hub } from "@ctxmesh/hub";
import { parseSpaceFile } from "@ctxmesh/membership";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";
import { serveCalls } from "./calls.ts";
import { Inbox } from "./load.ts";
import type { Reading, Span } from "./load.ts";
import type { YjsDoor } from "./yjs-client.ts";

/** How a hub is started. */
export interface HubStart {
  readonly space: string;
  readonly seed: Uint8Array;
  readonly folder: string;
  /** Of the database that it shares with others. */
  readonly engine?: string;
  /** Whether Yjs clients may connect; see `door`. */
  readonly yjs?: boolean;
}

const AUDIENCE = "bench";

const inbox = new Inbox();
let hub: Hub | undefined;
let door: YjsDoor | undefined;

const signerOf = (suite: Parameters<typeof generatePrivateKey>[0]) =>
  createSigner(generatePrivateKey(suite, systemRandom));

async function start(options: HubStart): Promise<readonly string[]> {
  const { seed, folder, engine, yjs = false } = options;
  const space = parseSpaceFile(options.space, createDeviceVerifier());
  const issuer = yjs ? await createDevIssuer(AUDIENCE, systemClock) : undefined;
  hub = await createHub(
    {
      version: "0.0.0",
      space,
      deviceSeed: seed,
      storePath: join(folder, "store"),
      socketPath: join(folder, "s.sock"),
      listen: { host: "127.0.0.1", port: 0 },
      seal: {
        signer: signerOf("ML-DSA-65-Ed25519"),
        log: {
          origin: "bench/log",
          signers: { ed25519: signerOf("Ed25519"), mldsa44: signerOf("ML-DSA-44") },
        },
      },
      ...(engine === undefined ? {} : { engine: await openPostgresEngine({ url: engine }) }),
      ...(issuer === undefined ? {} : { auth: { ...issuer, audience: AUDIENCE } }),
    },
    { clock: systemClock, random: systemRandom, logger: silentLogger },
  );
  hub.service.watch({}, ({ fact }) => {
    if (fact !== undefined) inbox.arrived(fact.value as unknown as Reading);
  });
  const urls = hub.addresses();
  if (issuer !== undefined) {
    const roles = [{ space: space.id, prefix: "", access: "write" }] as const;
    const token = await issuer.issue({ subject: "bench", tenant: "bench", roles });
    door = { url: new URL(`/yjs/${space.id}`, urls[0]).href, token };
  }
  return urls;
}

serveCalls(
  {
    start,
    door: () => door,
    expect: ({ load }: { readonly load: Span }) => {
      inbox.expect(load);
    },
    collect: async (timeoutMs: number) => inbox.collect(timeoutMs),
    lastMs: () => inbox.lastMs,
    status: async () => hub?.service.status({ digest: true }),
  },
  async () => hub?.stop(),
);
