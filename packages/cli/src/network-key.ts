// SPDX-License-Identifier: Apache-2.0
import { readSmallFile } from "./files.ts";

/** Reads the network key of a path, if there is one, to stand in place of it. Throws `KEY_INVALID`. */
export async function readNetworkKey(
  path: string | undefined,
): Promise<{ readonly networkKey?: string }> {
  return path === undefined
    ? {}
    : { networkKey: await readSmallFile(path, "network key", "KEY_INVALID") };
}
