// SPDX-License-Identifier: Apache-2.0
/** Keys, certificates and issuers that the configuration of a hub, or of who connects to it, names. */
import { createDevIssuer } from "@ctxmesh/auth";
import type { HubAuth, HubOptions } from "@ctxmesh/hub";
import { MeshError } from "@ctxmesh/model";
import type { SpaceId } from "@ctxmesh/model";
import type { NodeDeps } from "@ctxmesh/service";
import { deviceIdentity } from "@ctxmesh/transport-ws";
import type { HubTls } from "@ctxmesh/transport-ws";
import type { AuthConfig, DoorTlsConfig, HubConfig, HubTlsConfig } from "./config/types.ts";
import { readSmallFile } from "./files.ts";

const readPem = (path: string): Promise<string> => readSmallFile(path, "PEM file", "KEY_INVALID");

/** How hubs are connected to. Throws `KEY_INVALID`. */
export async function hubTlsOf(
  config: HubTlsConfig | undefined,
  seed: Uint8Array,
): Promise<{ readonly hubTls?: HubTls }> {
  if (config === undefined) return {};
  const { ca, cert, requirePq } = config;
  return {
    hubTls: {
      requirePq,
      ...(ca === undefined ? {} : { ca: await readPem(ca) }),
      ...(cert === undefined ? {} : { identity: deviceIdentity(await readPem(cert), seed) }),
    },
  };
}

/** How the hub's port is protected. Throws `KEY_INVALID`. */
async function doorTlsOf(
  config: DoorTlsConfig | undefined,
): Promise<Pick<HubOptions, "tls" | "clientCertificate">> {
  if (config === undefined) return {};
  const { key, cert, clientCa, requireClientCertificate, requirePq } = config;
  if (clientCa !== undefined && !requireClientCertificate) {
    throw new MeshError(
      "CONFIG_INVALID",
      "tls.clientCa is of no use without requireClientCertificate",
      {
        field: "tls.clientCa",
        remedy: "set tls.requireClientCertificate, or leave tls.clientCa out",
      },
    );
  }
  const authority = clientCa === undefined ? {} : { clientCa: await readPem(clientCa) };
  const tls = { key: await readPem(key), cert: await readPem(cert), requirePq, ...authority };
  if (!requireClientCertificate) return { tls };
  return { tls, clientCertificate: clientCa === undefined ? "own" : "authorized" };
}

/** Whose tokens are accepted, as configured. Throws `CONFIG_INVALID`, `KEY_INVALID`. */
async function authOf(config: AuthConfig | undefined): Promise<{ readonly auth?: HubAuth }> {
  if (config === undefined) return {};
  const { keyFile, keyUrl, keyCa, ...rules } = config;
  const location = keyFile ?? keyUrl;
  if (location === undefined || (keyFile !== undefined && keyUrl !== undefined)) {
    throw new MeshError("CONFIG_INVALID", "auth needs one of keyFile and keyUrl", {
      field: "auth",
      remedy: "name where the issuer's JWK set is",
    });
  }
  const ca = keyCa === undefined ? {} : { ca: await readPem(keyCa) };
  return { auth: { ...rules, keys: { location, ...ca } } };
}

/** Whom the token for trying out is for. */
const DEV_SUBJECT = "developer";
const DEV_TENANT = "dev";

/** An issuer of this process alone, in place of the configured one; prints a token that allows everything in the space. */
async function devAuth(
  config: AuthConfig | undefined,
  space: SpaceId,
  { clock }: NodeDeps,
): Promise<{ readonly auth: HubAuth }> {
  const { audience = "urn:ctxmesh:dev" } = config ?? {};
  const dev = await createDevIssuer(audience, clock);
  const roles = [{ space, prefix: "", access: "write" }] as const;
  const token = await dev.issue({ subject: DEV_SUBJECT, tenant: DEV_TENANT, roles });
  // Not into the log, which others may read.
  process.stderr.write(
    `warning: --dev is for trying out: whoever has this token may write everything for 15 minutes\n${token}\n`,
  );
  return { auth: { issuer: dev.issuer, audience, keys: dev.keys } };
}

/** Whose pages may connect to `/yjs`; where it is tried out, anybody's: without a token they get nothing. */
const originsOf = (yjs: HubConfig["yjs"], dev: boolean | undefined): Pick<HubOptions, "origins"> =>
  dev === true ? { origins: "any" } : yjs === undefined ? {} : { origins: yjs.origins };

/** All of it, for a hub. Throws `CONFIG_INVALID`, `KEY_INVALID`. */
export async function hubSecurityOf(
  { hubTls, tls, auth, yjs }: HubConfig,
  dev: boolean | undefined,
  space: SpaceId,
  seed: Uint8Array,
  deps: NodeDeps,
): Promise<Pick<HubOptions, "auth" | "clientCertificate" | "hubTls" | "origins" | "tls">> {
  return {
    ...originsOf(yjs, dev),
    ...(await hubTlsOf(hubTls, seed)),
    ...(await doorTlsOf(tls)),
    ...(dev === true ? await devAuth(auth, space, deps) : await authOf(auth)),
  };
}
