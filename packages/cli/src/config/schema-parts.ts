// SPDX-License-Identifier: Apache-2.0
/** What the schemas of configuration files are made of. */

/** A JSON Schema, as far as these use it. */
export interface Schema {
  readonly [keyword: string]: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly title?: string;
}

/** A path, which is resolved against the file's folder. */
export const path = (description: string): Schema => ({
  type: "string",
  title: "a path",
  description,
  minLength: 1,
  format: "path",
});

/** A mapping with these members and no others. */
export const object = (
  description: string,
  required: readonly string[],
  properties: Readonly<Record<string, Schema>>,
  more: Readonly<Record<string, unknown>> = {},
): Schema => ({
  type: "object",
  description,
  additionalProperties: false,
  ...(required.length === 0 ? {} : { required }),
  properties,
  ...more,
});
