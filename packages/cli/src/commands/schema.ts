// SPDX-License-Identifier: Apache-2.0
/** `ctxmesh schema`: which values the keys of a space may have. */
import { MeshError } from "@ctxmesh/model";
import type { SchemaEntry, SchemaReport } from "@ctxmesh/model";
import { parseEntry, typesOf } from "@ctxmesh/schema";
import type { ParsedEntry } from "@ctxmesh/schema";
import { checkEntry, publishEntry, reportSchemas } from "@ctxmesh/service";
import { loadEntry, renderEntry } from "../config/schema-file.ts";
import { writeWhole } from "../files.ts";
import { counted, createOutput, formatTable, formatTime, printable, shortId } from "../output.ts";
import { readSigner, whereItGoes, withSpace } from "../space-source.ts";
import type { SpaceOptions } from "../space-source.ts";

/** Which space, and how to print. */
export interface SchemaOptions extends SpaceOptions {
  readonly json?: boolean;
}

/** Options of `ctxmesh schema publish`. */
export interface SchemaPublishOptions extends SchemaOptions {
  readonly key: string;
}

/** Options of `ctxmesh schema show`. */
export interface SchemaShowOptions extends SchemaOptions {
  readonly docs: string;
  readonly schemaVersion?: string;
}

/** Options of `ctxmesh schema types`. */
export interface SchemaTypesOptions extends SpaceOptions {
  readonly out?: string;
}

const readSchemas = (options: SpaceOptions): Promise<readonly SchemaReport[]> =>
  withSpace(options, ({ space }) => Promise.resolve(reportSchemas(space)));

const nameOf = ({ prefix, docs }: Pick<SchemaReport, "prefix" | "docs">): string =>
  `${JSON.stringify(prefix)} in ${docs}`;

/** What a report has beside its entry. */
const BESIDE: ReadonlySet<string> = new Set<Exclude<keyof SchemaReport, keyof SchemaEntry>>([
  "act",
  "by",
  "publishedAt",
  "resolver",
  "standing",
]);

/** The entry of a report alone. */
const entryOf = (report: SchemaReport): ParsedEntry =>
  parseEntry(Object.fromEntries(Object.entries(report).filter(([name]) => !BESIDE.has(name))));

/** Signs a version of a schema, for a running daemon or into a space file. Throws what its parts throw, and then nothing has changed. */
export async function runSchemaPublish(file: string, options: SchemaPublishOptions): Promise<void> {
  const entry = await loadEntry(file);
  await withSpace(options, async (open) => {
    const signer = await readSigner(options.key);
    const { space, report } = publishEntry(open.space, signer, entry, Date.now());
    await open.submit(space);
    const output = createOutput(options);
    if (output.json) {
      await output.line(JSON.stringify({ space: space.id, ...report }));
      return;
    }
    await output.line(`${open.name} now has ${nameOf(report)}, version ${report.version}`);
    await output.line(whereItGoes(open));
  });
}

/** Says whether a file could be published: throws `POLICY_REFUSED` when it is not compatible, `CONFIG_INVALID` when it is no entry. */
export async function runSchemaCheck(file: string, options: SchemaOptions): Promise<void> {
  const entry = await loadEntry(file);
  const { check } = await withSpace(options, ({ space }) =>
    Promise.resolve(checkEntry(space, entry)),
  );
  const output = createOutput(options);
  const { compatible, against, differences } = check;
  if (output.json) await output.line(JSON.stringify(check));
  else if (compatible) {
    const what = against === undefined ? "owes nothing to another version" : `fits ${against}`;
    await output.line(`${nameOf(entry)}, version ${entry.version}: ${what}`);
  } else {
    for (const { path, problem } of differences) {
      await output.line(`${path === "" ? "/" : printable(path)}  ${printable(problem)}`);
    }
  }
  if (compatible) return;
  throw new MeshError(
    "POLICY_REFUSED",
    `version ${entry.version} is not compatible with ${against ?? ""}: ${counted(differences.length, "difference")}`,
    { remedy: "change the schema, or give it a higher major version" },
  );
}

/** Lists the versions of all schemas. */
export async function runSchemaLs(options: SchemaOptions): Promise<void> {
  const schemas = await readSchemas(options);
  const output = createOutput(options);
  if (output.json) {
    for (const report of schemas) await output.line(JSON.stringify(report));
    return;
  }
  if (schemas.length === 0) {
    await output.line("no schemas; docs/SCHEMAS.md tells how to publish one");
    return;
  }
  const head = [
    "PREFIX",
    "DOCUMENTS",
    "VERSION",
    "STANDING",
    "NEXT ONE",
    "RESOLVER",
    "PUBLISHED",
    "BY",
  ];
  const rows = schemas.map((one) => [
    JSON.stringify(one.prefix),
    one.docs,
    one.version,
    one.standing,
    one.compatibility,
    printable(one.resolver),
    formatTime(one.publishedAt),
    shortId(one.by),
  ]);
  for (const line of formatTable([head, ...rows])) await output.line(line);
}

/** Prints a version as a file that `publish` takes, the current one unless another is asked for. Throws `NOT_FOUND`. */
export async function runSchemaShow(prefix: string, options: SchemaShowOptions): Promise<void> {
  const { docs, schemaVersion } = options;
  const schemas = await readSchemas(options);
  const found = schemas.find(
    (one) =>
      one.prefix === prefix &&
      one.docs === docs &&
      (schemaVersion === undefined ? one.standing === "current" : one.version === schemaVersion),
  );
  if (found === undefined) {
    const what = schemaVersion === undefined ? "schema" : `version ${schemaVersion}`;
    throw new MeshError("NOT_FOUND", `there is no ${what} of ${nameOf({ prefix, docs })}`, {
      remedy: "ctxmesh schema ls shows what there is",
    });
  }
  const output = createOutput(options);
  await output.line(output.json ? JSON.stringify(found) : renderEntry(entryOf(found)).trimEnd());
}

/** Writes TypeScript types of the current schemas, to a file or stdout. */
export async function runSchemaTypes(options: SchemaTypesOptions): Promise<void> {
  const schemas = await readSchemas(options);
  const text = typesOf(schemas.filter(({ standing }) => standing === "current").map(entryOf));
  if (options.out === undefined) {
    await createOutput({}).line(text.trimEnd());
    return;
  }
  await writeWhole(options.out, text, { field: "--out", remedy: "name a file that you may write" });
}
