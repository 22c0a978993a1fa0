// SPDX-License-Identifier: Apache-2.0
/** What is alike for all who dial hubs, in Node and in pages: their URLs, and when to try again. */
import type { RandomSource } from "@ctxmesh/model";
import { MeshError } from "@ctxmesh/model";

/** The path of the sync endpoint. */
export const SYNC_PATH = "/v1/sync";

const BACKOFF_MIN_MS = 250;
const BACKOFF_MAX_MS = 30_000;
/** A channel that lived this long ends the back-off; one that dies at once does not. */
export const STABLE_MS = 5_000;

/** The URL of a hub's sync endpoint; without a path, `/v1/sync` is meant. Throws `CONFIG_INVALID`. */
export function parseHubUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["ws:", "wss:"].includes(url.protocol) || url.hash !== "") {
    throw new MeshError("CONFIG_INVALID", `"${text.slice(0, 200)}" is not the URL of a hub`, {
      field: "hubs",
      remedy: "write it like ws://192.0.2.7:7400 or wss://hub.example.org",
    });
  }
  if (url.pathname === "/") url.pathname = SYNC_PATH;
  return url.href;
}

/** How long to wait after so many failures in a row, in milliseconds: a random part of 250 ms, or of twice that for each further one, 30 s at most. */
export function retryMs(failures: number, random: RandomSource): number {
  const limit = Math.min(BACKOFF_MAX_MS, BACKOFF_MIN_MS * 2 ** Math.min(failures, 16));
  const [a = 0, b = 0] = random.bytes(2);
  return (limit * (a * 256 + b)) / 65_536;
}
