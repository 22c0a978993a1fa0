// SPDX-License-Identifier: Apache-2.0
/** The composition root of `ctxmesh witness`. */
import { createWitnessProgram } from "@ctxmesh/hub";
import { cosignatureType, formatVkey } from "@ctxmesh/ledger";
import { MeshError } from "@ctxmesh/model";
import { systemClock } from "@ctxmesh/service";
import { runDaemon } from "../daemon.ts";
import { readSmallFile } from "../files.ts";
import { createLogger } from "../logging.ts";
import { readAsWitness } from "../witness-settings.ts";

/** Options of `ctxmesh witness`. */
export interface WitnessOptions {
  readonly name: string;
  readonly key: readonly string[];
  readonly log: readonly string[];
  readonly store: string;
  readonly listen: string;
  readonly tlsKey?: string;
  readonly tlsCert?: string;
}

/** Parses `127.0.0.1:4600` or `[::1]:4600`. Throws `USAGE`. */
function parseListen(text: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits] =
    /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})$/u.exec(text) ?? [];
  const [host, port] = [bracketed ?? plain, Number(digits)];
  if (host !== undefined && port <= 65_535) return { host, port };
  throw new MeshError("USAGE", `--listen ${JSON.stringify(text)} is not HOST:PORT`, {
    remedy: "write it as 127.0.0.1:4600",
  });
}

const readPem = async (path: string): Promise<string> =>
  readSmallFile(path, "PEM file", "KEY_INVALID");

/** Runs a witness until a signal stops it. Throws what is wrong with its settings, and what the start throws. */
export async function runWitness(options: WitnessOptions): Promise<void> {
  const { tlsKey, tlsCert } = options;
  const listen = parseListen(options.listen);
  if ((tlsKey === undefined) !== (tlsCert === undefined)) {
    throw new MeshError("USAGE", "--tls-key and --tls-cert belong together");
  }
  const tls =
    tlsKey === undefined || tlsCert === undefined
      ? {}
      : { tls: { key: await readPem(tlsKey), cert: await readPem(tlsCert) } };
  const witness = await readAsWitness({ name: options.name, keys: options.key, logs: options.log });
  const logger = createLogger("info", "witness");
  await runDaemon(async () => {
    const settings = { ...witness, ...tls, listen, storePath: options.store };
    const program = await createWitnessProgram(settings, { clock: systemClock, logger });
    const vkeys = witness.signers.map(({ key }) =>
      formatVkey({ name: witness.name, type: cosignatureType(key), key }),
    );
    const logs = witness.logs.map(({ origin }) => origin);
    logger.info("witness.ready", { url: program.url, name: witness.name, logs, vkeys });
    return program;
  }, logger);
}
