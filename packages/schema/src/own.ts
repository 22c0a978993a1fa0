// SPDX-License-Identifier: Apache-2.0
/** Schemas that the program brings along, such as those of its configuration: trusted, checked by tests, and free to use all of JSON Schema 2020-12. */
// oxlint-disable-next-line import/extensions -- ajv has no exports map
import { Ajv2020 } from "ajv/dist/2020.js";
import type { ErrorObject, ValidateFunction } from "ajv/dist/2020.js";

export type { ErrorObject, ValidateFunction };

/** Compiles a schema of our own. The function finds all errors at once, fills in defaults, and takes any text for the formats named. */
export function compileOwn(schema: object, formats: readonly string[]): ValidateFunction {
  return new Ajv2020({
    allErrors: true,
    useDefaults: true,
    verbose: true,
    // `properties` may live under `then`, and say their type above it.
    strictTypes: false,
    strictRequired: false,
    formats: Object.fromEntries(formats.map((format) => [format, true as const])),
    // This and shorter code would cost every start more than they save.
    validateSchema: false,
    code: { optimize: false },
  }).compile(schema);
}
