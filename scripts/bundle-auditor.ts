// SPDX-License-Identifier: Apache-2.0
/**
 * Bundles the auditor: `node scripts/bundle-auditor.ts [FOLDER]` (default: packages/auditor/bundle). One file,
 * `main.mjs`, that needs Node and nothing else on the disk: an auditor can read it, keep it, and run it for years.
 */
import { readdirSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { bundle } from "./bundle.ts";

const PACKAGE = fileURLToPath(new URL("../packages/auditor", import.meta.url));

/** Makes the file in `folder`, which is emptied first. Throws when it came to more than one file. */
export async function bundleAuditor(folder: string): Promise<void> {
  await bundle(folder, `${PACKAGE}/src/main.ts`);
  const files = readdirSync(folder);
  if (files.length !== 1) throw new Error(`not one file: ${files.join(", ")}`);
}

if (import.meta.main) await bundleAuditor(process.argv[2] ?? `${PACKAGE}/bundle`);
