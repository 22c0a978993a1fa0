// SPDX-License-Identifier: Apache-2.0
/** A real agent that may be started again, and HTTP to its local API. */
import { request as httpRequest } from "node:http";
import type { IncomingHttpHeaders } from "node:http";
import { join } from "node:path";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent, AgentOptions } from "@ctxmesh/edge-agent";
import { createSpace, issueGrant } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger } from "@ctxmesh/testing";

/** The description's examples name the device key of this seed. */
const SEED = new Uint8Array(32).fill(1);
const device = createDeviceSigner(SEED);
const now = systemClock.now();
const space = issueGrant(
  createSpace({ name: "plant", creator: device, now, random: systemRandom }),
  device,
  {
    device: parseDeviceKey(toHex(device.publicKey)),
    service: "agent",
    role: "manage",
    notBefore: now - 1_000,
  },
);

/** Starts the agent of a folder. */
export async function startAgent(
  folder: string,
  changes: Partial<AgentOptions> = {},
): Promise<Agent> {
  return createAgent(
    {
      version: "0.0.0",
      space,
      deviceSeed: SEED,
      storePath: join(folder, "store"),
      socketPath: join(folder, "agent.sock"),
      mesh: { listen: [], peers: [] },
      hubs: [],
      sources: [],
      ...changes,
    },
    { clock: systemClock, random: systemRandom, logger: silentLogger },
  );
}

/** An answer. */
export interface Answered {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** The text as JSON; undefined when it is none. */
  readonly json: Readonly<Record<string, unknown>> | undefined;
}

/** Where a request goes. */
export type Where = { readonly socketPath: string } | { readonly port: number };

/** Makes a request; `upTo` ends it after that many characters of a body that may have no end. */
export async function ask(
  where: Where,
  method: string,
  path: string,
  {
    body,
    headers = {},
    upTo,
  }: {
    readonly body?: unknown;
    readonly headers?: Readonly<Record<string, string>>;
    readonly upTo?: number;
  } = {},
): Promise<Answered> {
  const { promise, resolve, reject } = Promise.withResolvers<Answered>();
  const text = body === undefined ? undefined : JSON.stringify(body);
  const type = text === undefined ? {} : { "content-type": "application/json" };
  const outgoing = httpRequest(
    { agent: false, ...where, method, path, headers: { ...type, ...headers } },
    (response) => {
      const { statusCode = 0 } = response;
      let all = "";
      const done = (): void => {
        const isJson = /[+/]json/u.test(response.headers["content-type"] ?? "") && all !== "";
        const json = isJson ? (JSON.parse(all) as Answered["json"]) : undefined;
        resolve({ status: statusCode, headers: response.headers, text: all, json });
      };
      response.setEncoding("utf8").on("data", (chunk: string) => {
        all += chunk;
        if (upTo === undefined || all.length < upTo) return;
        done();
        outgoing.destroy();
      });
      response.on("end", done);
      response.on("error", reject);
    },
  );
  outgoing.on("error", reject);
  outgoing.end(text);
  return promise;
}
