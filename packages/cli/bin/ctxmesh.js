#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Plain JavaScript that any Node of the last ten years can parse, so that an old one gets to the message below.
import { existsSync } from "node:fs";
import * as nodeModule from "node:module";
import { fileURLToPath } from "node:url";

const NEEDED_MAJOR = 24;
const EXIT_UNAVAILABLE = 4;

const sourceMain = new URL("../src/main.ts", import.meta.url);

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
} else if (isCheckout()) {
  nodeModule.registerHooks({
    resolve: (specifier, context, nextResolve) =>
      nextResolve(specifier, {
        ...context,
        conditions: [...context.conditions, "@ctxmesh/source"],
      }),
  });
  const { main } = await import(sourceMain.href);
  await main(process.argv);
} else {
  const { main } = await import(new URL("../dist/main.js", import.meta.url).href);
  await main(process.argv);
}
