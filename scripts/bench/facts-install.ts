// SPDX-License-Identifier: Apache-2.0
/** The engines that `facts` compares with: installed beside the benchmark when it is run, and nowhere else. */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const FOLDER = fileURLToPath(new URL("peers/", import.meta.url));
const LOCK = `${FOLDER}package-lock.json`;
/** A copy of the lockfile that the folder was installed from. */
const INSTALLED = `${FOLDER}node_modules/.installed-lock.json`;
const INSTALL_MS = 180_000;

/** Installs what is missing; returns why it could not, or undefined. Says what it does on stderr. */
export async function installPeers(signal: AbortSignal): Promise<string | undefined> {
  const lock = await readFile(LOCK, "utf8");
  const installed = await readFile(INSTALLED, "utf8").catch(() => "");
  if (installed === lock) return undefined;
  process.stderr.write(
    "facts: installing yjs, ywasm, Automerge and Loro into scripts/bench/peers\n",
  );
  try {
    await run("npm", ["ci", "--ignore-scripts", "--loglevel=error", "--no-audit", "--no-fund"], {
      cwd: FOLDER,
      timeout: INSTALL_MS,
      signal,
      shell: process.platform === "win32",
    });
    await writeFile(INSTALLED, lock);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    const { stderr = "", message } = error as Error & { readonly stderr?: string };
    const reason = stderr.split("\n").find((line) => /error/iu.test(line)) ?? message;
    process.stderr.write(
      `facts: measuring ctxmesh alone, as npm could not install them: ${reason.trim()}\n`,
    );
    return reason.trim();
  }
}
