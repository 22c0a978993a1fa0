import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toTable } from "./figure.ts";
import { measureSchemas } from "./schemas.ts";
const folder = await mkdtemp(join(tmpdir(), "schemas-"));
try { process.stdout.write(toTable(await measureSchemas(folder, { quick: false, rates: [], signal: new AbortController().signal, progress: () => undefined }))); } finally { await rm(folder, { recursive: true }); }
