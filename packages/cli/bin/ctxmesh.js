#!/usr/bin/env -S node --max-semi-space-size=8
// SPDX-License-Identifier: Apache-2.0
// By itself Node sets aside up to 128 MiB for new objects: half of the memory of a hub, which is no faster for it.
// Plain JavaScript that any Node of the last ten years can parse, so that an old one gets to the message below.
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { userInfo } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const NEEDED_MAJOR = 24;
const EXIT_UNAVAILABLE = 4;

const sourceMain = new URL("../src/main.ts", import.meta.url);

/** What an installed package runs: the bundle, which starts faster than the single files that it was made of. */
const bundledMain = new URL("../bundle/main.mjs", import.meta.url);
const builtMain = new URL("../dist/main.js", import.meta.url);

/**
 * Keeps compiled code for the next start, where nobody else can put any: Node's default is a folder that all users
 * share, and HOME may be another user's under sudo. NODE_DISABLE_COMPILE_CACHE turns it off.
 */
function keepCompiledCode() {
  try {
    const caches = process.env["XDG_CACHE_HOME"] || join(userInfo().homedir, ".cache");
    nodeModule.enableCompileCache(join(caches, "ctxmesh", "compiled"));
  } catch {
    // A user without a name has no home: each start compiles.
  }
}

/** For `agent --small`: little room for new objects and for old ones, and smaller code where there is a choice. */
const SMALL_FLAGS = ["--max-semi-space-size=1", "--max-old-space-size=128", "--optimize-for-size"];
/** Threads for file work and the like: a write to the store has its own. */
const SMALL_THREADS = "2";

/**
 * Node takes its flags when it starts, so `agent --small` becomes another Node in the same process (`execve`): whoever supervises it sees no other
 * one. Where that does not exist it goes on as it is.
 */
function becomeSmall() {
  const [, script, command, ...rest] = process.argv;
  if (command !== "agent" || !rest.includes("--small")) return;
  if (process.execArgv.includes(SMALL_FLAGS[0]) || process.platform === "win32") return;
  const args = [process.execPath, ...process.execArgv, ...SMALL_FLAGS, script, command, ...rest];
  process.execve(process.execPath, args, { UV_THREADPOOL_SIZE: SMALL_THREADS, ...process.env });
}

/** In a checkout the sources run as they are; an installed package runs what was built. */
function isCheckout() {
  const path = fileURLToPath(sourceMain);
  return !path.split(/[\\/]/u).includes("node_modules") && existsSync(path);
}

if (Number(process.versions.node.split(".")[0]) < NEEDED_MAJOR) {
  process.stderr.write(
    `ctxmesh: needs Node.js ${NEEDED_MAJOR} or newer, this is ${process.version}; ` +
      "install a newer one, or in a checkout run it as: npx ctxmesh\n",
  );
  process.exitCode = EXIT_UNAVAILABLE;
} else {
  becomeSmall();
  keepCompiledCode();
  const checkout = isCheckout();
  if (checkout) {
    nodeModule.registerHooks({
      resolve: (specifier, context, nextResolve) =>
        nextResolve(specifier, {
          ...context,
          conditions: [...context.conditions, "@ctxmesh/source"],
        }),
    });
  }
  const built = existsSync(bundledMain) ? bundledMain : builtMain;
  const { main } = await import((checkout ? sourceMain : built).href);
  await main(process.argv);
}
