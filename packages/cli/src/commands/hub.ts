// SPDX-License-Identifier: Apache-2.0
/** The composition root of `ctxmesh hub`. */
import { createSigner } from "@ctxmesh/crypto";
import { createHub } from "@ctxmesh/hub";
import type { HubOptions } from "@ctxmesh/hub";
import type { Engine, HintBus, Logger } from "@ctxmesh/model";
import { budgetsOf, systemClock, systemRandom } from "@ctxmesh/service";
import { loadConfig } from "../config/load.ts";
import type { Acceptance, HubConfig } from "../config/types.ts";
import { runDaemon } from "../daemon.ts";
import { readKey, readSmallFile, readSpace } from "../files.ts";
import { keyProviderOf } from "../key-provider.ts";
import { hubSecurityOf } from "../hub-security.ts";
import { localApiOf } from "../local-api.ts";
import { createLogger } from "../logging.ts";
import { readNetworkKey } from "../network-key.ts";
import { readVersion } from "../version.ts";
import { readAsWitness, readAskedWitnesses } from "../witness-settings.ts";

/** The engine that the command line or the configuration names, connected. Throws `CONFIG_INVALID`, `FILE_UNAVAILABLE`, `ENGINE_UNAVAILABLE`, `STORE_FORMAT`. */
async function engineOf(
  { engine }: HubConfig,
  named: string | undefined,
): Promise<{ readonly engine?: Engine }> {
  const url = named ?? engine?.url;
  if (url === undefined) return {};
  // Most hubs have none, and need not load what speaks to it.
  const { openPostgresEngine } = await import("@ctxmesh/engine-postgres");
  const file = named === undefined ? engine?.passwordFile : undefined;
  if (file === undefined) return { engine: await openPostgresEngine({ url }) };
  const password = (await readSmallFile(file, "password file", "FILE_UNAVAILABLE")).trim();
  return { engine: await openPostgresEngine({ url, password }) };
}

/** The bus of hints that the command line or the configuration names. Throws `CONFIG_INVALID`. */
async function hintsOf(
  { engine }: HubConfig,
  named: string | undefined,
  logger: Logger,
): Promise<{ readonly hints?: HintBus }> {
  const url = named ?? engine?.hints;
  if (url === undefined) return {};
  const { openNatsHints } = await import("@ctxmesh/hints-nats");
  return { hints: openNatsHints({ url, logger }) };
}

/** The hub as a witness of other logs; it is none of its own. Throws `KEY_INVALID`, `FILE_UNAVAILABLE`, and what is wrong with a file. */
async function asWitnessOf({ seal, witness }: HubConfig): Promise<Pick<HubOptions, "asWitness">> {
  if (witness === undefined) return {};
  const read = await readAsWitness(witness);
  const logs = read.logs.filter(({ origin }) => origin !== seal.log.origin);
  return { asWitness: { ...read, logs } };
}

/** The relay that the configuration names; `listen`, from the command line, makes one, or takes the place of its addresses. Throws `KEY_INVALID`. */
async function relayOf(
  { relay }: HubConfig,
  listen: readonly string[] | undefined,
): Promise<Pick<HubOptions, "relay">> {
  const addresses = listen ?? relay?.listen;
  if (addresses === undefined) return {};
  const { networkKey: path, ...settings } = relay ?? {};
  return { relay: { ...settings, ...(await readNetworkKey(path)), listen: addresses } };
}

/** Runs a hub until a signal stops it. Throws what is wrong with the configuration, and what the start throws. */
export async function runHub(configFile: string, accept: Acceptance): Promise<void> {
  const config = await loadConfig("hub", configFile);
  const logger = createLogger(config.log.level, "hub");
  const deps = { clock: systemClock, random: systemRandom, logger };
  await runDaemon(async () => {
    const { listen, store: storePath, socket: socketPath, factEngine } = config;
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
      witnesses: await readAskedWitnesses(config.seal.witnesses),
    };
    const {
      linkBudget,
      engine: engineUrl,
      hints: hintsUrl,
      relays,
      hubs = [],
      dev,
      ...accepted
    } = accept;
    const meeting = {
      hubs: [...config.hubs, ...hubs],
      ...(await relayOf(config, relays)),
    };
    const shared = await engineOf(config, engineUrl);
    const links = linkBudget === undefined ? config.links : { default: linkBudget };
    // What is wrong with them is said before anything is opened.
    budgetsOf(links);
    const keeping = {
      space,
      deviceSeed,
      storePath,
      factEngine,
      ...accepted,
      ...protection,
      ...shared,
      ...(await hintsOf(config, hintsUrl, logger)),
      ...meeting,
      ...(await hubSecurityOf(config, dev, space.id, deviceSeed, deps)),
      ...(await asWitnessOf(config)),
      ...(await localApiOf(config)),
      links,
    };
    const hub = await createHub({ version, ...keeping, socketPath, listen, seal }, deps);
    const addresses = [...hub.addresses(), ...hub.relayAddresses()];
    logger.info("hub.ready", { version, addresses, socket: socketPath });
    return hub;
  }, logger);
}
