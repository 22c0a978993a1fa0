// SPDX-License-Identifier: Apache-2.0
/** The `ctxmesh` command as an installation has it: bundled, and away from the sources. */
import { cp, mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "../bundle.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Installs the command of this checkout under `folder`; returns the path of its program for Node.js. */
export async function installCommand(folder: string): Promise<string> {
  const modules = join(folder, "node_modules");
  const command = join(modules, "@ctxmesh/cli");
  await mkdir(command, { recursive: true });
  await bundle(join(command, "bundle"));
  for (const name of ["bin", "package.json"]) {
    await cp(join(ROOT, "packages/cli", name), join(command, name), { recursive: true });
  }
  await linkAddon(modules);
  return join(command, "bin/ctxmesh.js");
}

/** The addon, and the package through which a bundle finds it. */
async function linkAddon(modules: string): Promise<void> {
  await mkdir(join(modules, "@ctxmesh"), { recursive: true });
  await symlink(join(ROOT, "packages/store-level"), join(modules, "@ctxmesh/store-level"));
  await symlink(join(ROOT, "node_modules/classic-level"), join(modules, "classic-level"));
}

/**
 * Bundles a worker as the command is, so that it starts as fast and is as small, under `folder`, where there may be
 * others; returns the path of its program.
 */
export async function installWorker(name: string, folder: string): Promise<string> {
  const place = join(folder, "workers", name);
  await mkdir(place, { recursive: true });
  await linkAddon(join(place, "node_modules"));
  const program = join(place, "program");
  await bundle(program, fileURLToPath(new URL(`workers/${name}.ts`, import.meta.url)));
  return join(program, "main.mjs");
}
