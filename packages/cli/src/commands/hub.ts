// SPDX-License-Identifier: Apache-2.0
/** The composition root of `ctxmesh hub`. */
import { createSigner } from "@ctxmesh/crypto";
import { createHub } from "@ctxmesh/hub";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { loadConfig } from "../config/load.ts";
import type { Acceptance } from "../config/types.ts";
import { runDaemon } from "../daemon.ts";
import { readKey, readSpace } from "../files.ts";
import { keyProviderOf } from "../key-provider.ts";
import { createLogger } from "../logging.ts";
import { readVersion } from "../version.ts";

/** Runs a hub until a signal stops it. Throws what is wrong with the configuration, and what the start throws. */
export async function runHub(configFile: string, accept: Acceptance): Promise<void> {
  const config = await loadConfig("hub", configFile);
  const logger = createLogger(config.log.level, "hub");
  const deps = { clock: systemClock, random: systemRandom, logger };
  await runDaemon(async () => {
    const { listen, store: storePath, socket: socketPath } = config;
    const { origin, ed25519Key, mldsa44Key } = config.seal.log;
    const version = readVersion();
    const [space, { seed: deviceSeed }, protection, snapshot, ed25519, mldsa44] = await Promise.all(
      [
        readSpace(config.space),
        readKey(config.key, "Ed25519"),
        keyProviderOf(config),
        readKey(config.seal.key, "ML-DSA-65-Ed25519"),
        readKey(ed25519Key, "Ed25519"),
        readKey(mldsa44Key, "ML-DSA-44"),
      ],
    );
    const seal = {
      signer: createSigner(snapshot),
      log: { origin, signers: { ed25519: createSigner(ed25519), mldsa44: createSigner(mldsa44) } },
    };
    const keeping = { space, deviceSeed, storePath, ...accept, ...protection };
    const hub = await createHub({ version, ...keeping, socketPath, listen, seal }, deps);
    logger.info("hub.ready", { version, addresses: hub.addresses(), socket: socketPath });
    return hub;
  }, logger);
}
