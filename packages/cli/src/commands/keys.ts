// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh keys`: the keys that a running daemon's store is encrypted with. */
import { resolve } from "node:path";
import type { KeysReport } from "@ctxmesh/model";
import { parseKeyLocation } from "@ctxmesh/vault";
import { stringify } from "yaml";
import { encryptionAt } from "../key-provider.ts";
import { counted, createOutput, formatAge, formatTable, formatTime } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of the commands of `ctxmesh keys`. */
export interface KeysOptions {
  readonly socket?: string;
  readonly json?: boolean;
}

/** Options of `ctxmesh keys rewrap`. */
export interface RewrapOptions extends KeysOptions {
  readonly to: string;
}

/** Prints how a store is encrypted. */
export async function runKeysShow(options: KeysOptions): Promise<void> {
  const output = createOutput(options);
  const report = await withClient(options.socket, "agent", (client) => client.keys());
  if (output.json) {
    await output.line(JSON.stringify(report));
    return;
  }
  for (const text of formatTable(rowsOf(report))) await output.line(text);
}

function rowsOf({ keys }: KeysReport): string[][] {
  if (keys === undefined)
    return [["encryption", "off: what is in the store can be read by anybody"]];
  const now = Date.now();
  const moment = (ms: number): string => `${formatTime(ms)}, ${formatAge(now - ms)} ago`;
  const { documents, epochs, oldestMs, newestMs } = keys;
  const rows = [
    ["protected by", keys.provider],
    ["store key", `number ${String(keys.storeKey)}, made ${moment(keys.storeKeyMadeMs)}`],
    [
      "data keys",
      `${String(keys.dataKeys)}, for ${counted(documents, "document")}; at most ${counted(epochs, "epoch")} of one`,
    ],
  ];
  if (oldestMs !== undefined) rows.push(["in use", `oldest made ${moment(oldestMs)}`]);
  if (newestMs !== undefined) rows.push(["last epoch", `begun ${moment(newestMs)}`]);
  if (keys.rotating) {
    rows.push([
      "warning",
      "not every data key is wrapped by the newest store key yet; a restart goes on with it",
    ]);
  }
  if (keys.acceptsPlain) {
    rows.push(["warning", "what was written before encryption was switched on is not encrypted"]);
  }
  return rows;
}

/** Has every document begin a new epoch, with a new data key, at its next write. */
export async function runKeysRotate(options: KeysOptions): Promise<void> {
  const output = createOutput(options);
  const ended = await withClient(options.socket, "agent", (client) => client.rotateKeys());
  await output.line(
    output.json
      ? JSON.stringify({ ended })
      : `${counted(ended, "epoch")} ended: the next write of each document makes a new data key; what is stored stays as it is`,
  );
}

/** Protects a store with another key, and says what the configuration has to say from now on. */
export async function runKeysRewrap({ to, ...options }: RewrapOptions): Promise<void> {
  const output = createOutput(options);
  // The daemon has another working folder.
  const path = /^file:(.+)$/su.exec(to)?.[1];
  const text = path === undefined ? to : `file:${resolve(path)}`;
  const encryption = encryptionAt(parseKeyLocation(text));
  const { from, report } = await withClient(options.socket, "agent", async (client) => ({
    from: (await client.keys()).keys?.provider ?? "",
    report: await client.rewrapKeys(text),
  }));
  if (output.json) {
    await output.line(JSON.stringify({ from, ...report, encryption }));
    return;
  }
  await output.line(
    `the store is protected by ${report.provider} now; ${counted(report.rewrapped, "data key")} wrapped anew`,
  );
  if (report.unreadable > 0) {
    await output.line(
      `${counted(report.unreadable, "data key")} could not be: their records are damaged`,
    );
  }
  await output.line(
    "to finish, have the configuration of the daemon say so before its next start:\n",
  );
  await output.line(stringify({ encryption }));
  if (from !== report.provider) {
    await output.line(`keep ${from} for as long as you keep backups that were made until now`);
  }
}
