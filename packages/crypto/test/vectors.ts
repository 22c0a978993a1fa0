// SPDX-License-Identifier: Apache-2.0
/** Vectors of outside authorities, in a `shared` folder beside the checkout. */
import { existsSync, readFileSync } from "node:fs";

const folder = new URL("../../../../shared/vectors/", import.meta.url);

/** Whether the folder is there. */
export const haveVectors = existsSync(folder);

/** The end of a test's name: says why it is skipped. */
export const skipNote = haveVectors ? "" : " (skipped: no ../shared/vectors beside the checkout)";

/** A file as text. */
export const readVectorText = (name: string): string => readFileSync(new URL(name, folder), "utf8");

/** A file as JSON. */
export const readVector = <T>(name: string): T => JSON.parse(readVectorText(name)) as T;
