// SPDX-License-Identifier: Apache-2.0
/** The composition root of `ctxmesh agent`. */
import { createAgent, createCsvSource, createHostSource } from "@ctxmesh/edge-agent";
import type { Source } from "@ctxmesh/edge-agent";
import { parseSubscriptionRules } from "@ctxmesh/model";
import type { NodeDeps } from "@ctxmesh/service";
import { budgetsOf, systemClock, systemRandom } from "@ctxmesh/service";
import { loadConfig } from "../config/load.ts";
import type { Acceptance, SourceConfig } from "../config/types.ts";
import { runDaemon } from "../daemon.ts";
import { retainedMs } from "../config/retain.ts";
import { readKey, readSpace } from "../files.ts";
import { keyProviderOf } from "../key-provider.ts";
import { hubTlsOf } from "../hub-security.ts";
import { leavesOf, pagesOf } from "../leaf-links.ts";
import { localApiOf } from "../local-api.ts";
import { createLogger } from "../logging.ts";
import { readNetworkKey } from "../network-key.ts";
import { readVersion } from "../version.ts";

/** Runs an agent until a signal stops it. Throws what is wrong with the configuration, and what the start throws. */
export async function runAgent(configFile: string, accept: Acceptance): Promise<void> {
  const config = await loadConfig("agent", configFile);
  const logger = createLogger(config.log.level, "agent");
  const deps = { clock: systemClock, random: systemRandom, logger };
  await runDaemon(async () => {
    const { mesh, hubs, store: storePath, socket: socketPath, factEngine } = config;
    const version = readVersion();
    const [space, { seed: deviceSeed }, protection, sources, networkKey] = await Promise.all([
      readSpace(config.space),
      readKey(config.key, "Ed25519"),
      keyProviderOf(config),
      createSources(config.sources, deps),
      readNetworkKey(mesh.networkKey),
    ]);
    const { linkBudget, relays = [], subscribe = config.subscribe, ...accepted } = accept;
    const subscription = parseSubscriptionRules(subscribe);
    const kept = subscription === undefined ? {} : { subscription };
    const links = linkBudget === undefined ? config.links : { default: linkBudget };
    // What is wrong with them is said before anything is opened.
    budgetsOf(links);
    const keeping = { space, deviceSeed, storePath, ...accepted, ...protection, links };
    const settings = {
      version,
      factEngine,
      ...keeping,
      ...kept,
      ...retainedMs(config.retain),
      socketPath,
    };
    const agent = await createAgent(
      {
        ...settings,
        mesh: { ...mesh, relays: [...mesh.relays, ...relays], ...networkKey },
        hubs,
        ...(await hubTlsOf(config.hubTls, deviceSeed)),
        ...(await localApiOf(config)),
        ...(await leavesOf(config)),
        ...pagesOf(config),
        sources,
      },
      deps,
    );
    const addresses = agent.addresses();
    const forLeaves = config.leaves === undefined ? {} : { leaves: agent.leafAddresses() };
    const forPages = config.pages === undefined ? {} : { pages: agent.pageAddresses() };
    const listening = { addresses, ...forLeaves, ...forPages };
    logger.info("agent.ready", { version, ...listening, socket: socketPath });
    return agent;
  }, logger);
}

async function createSources(
  configs: readonly SourceConfig[],
  deps: NodeDeps,
): Promise<readonly Source[]> {
  const sources: Source[] = [];
  for (const config of configs) {
    sources.push(
      config.type === "host" ? createHostSource(config, deps) : await createCsvSource(config, deps),
    );
  }
  return sources;
}
