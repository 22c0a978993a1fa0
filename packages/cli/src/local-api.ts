// SPDX-License-Identifier: Apache-2.0
/** The local API on TCP, as a configuration has it. */
import type { NodeOptions } from "@ctxmesh/service";
import type { NodeConfig } from "./config/types.ts";
import { readTokenFile } from "./token-file.ts";

/** Where the local API listens on TCP, with its token, which is made when there is none. Throws `FILE_UNAVAILABLE`, `INPUT_INVALID`. */
export async function localApiOf({ api }: NodeConfig): Promise<Pick<NodeOptions, "api">> {
  if (api === undefined) return {};
  const { listen, tokenFile, origins } = api;
  const at = listen.lastIndexOf(":");
  const host = listen.slice(0, at).replaceAll(/[[\]]/gu, "");
  const token = await readTokenFile(tokenFile, "api.tokenFile");
  return { api: { host, port: Number(listen.slice(at + 1)), token, origins } };
}
