// SPDX-License-Identifier: Apache-2.0
/** What the descriptions of the local API's operations are made of. */
import type { JsonValue } from "@ctxmesh/model";
import { PROBLEM_MEDIA_TYPE } from "./problem.ts";

/** A JSON Schema, or a reference to one. */
export type Schema = Readonly<Record<string, JsonValue>>;

/** A parameter of a query, a path or the headers. */
export interface Parameter {
  readonly description: string;
  readonly schema: Schema;
  readonly required?: true;
  readonly example?: JsonValue;
}

/** A body that is sent. */
export interface RequestBody {
  readonly schema: Schema;
  /** By name; all of them work, in this order, on a new node. */
  readonly examples: Readonly<Record<string, JsonValue>>;
  readonly optional?: true;
}

/** An answer. */
export interface OperationAnswer {
  readonly description: string;
  /** `application/json` by default. */
  readonly mediaType?: string;
  /** Without one there is no body. */
  readonly schema?: Schema;
  readonly headers?: Readonly<
    Record<string, { readonly description: string; readonly schema: Schema }>
  >;
}

/** One operation. */
export interface Operation {
  readonly id: string;
  readonly summary: string;
  readonly query?: Readonly<Record<string, Parameter>>;
  readonly headers?: Readonly<Record<string, Parameter>>;
  readonly path?: Readonly<Record<string, Parameter>>;
  readonly body?: RequestBody;
  /** By status; beside them every operation may answer with a problem. */
  readonly answers: Readonly<Record<string, OperationAnswer>>;
}

/** By method and path, such as `GET /v1/fact`. */
export type Operations = Readonly<Record<string, Operation>>;

/** A reference to a schema of the description. */
export const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });

/** A string. */
export const STRING: Schema = { type: "string" };
/** A non-negative whole number. */
export const COUNT: Schema = { type: "integer", minimum: 0 };
/** Any JSON. */
export const ANY: Schema = {};
/** 1 or 0. */
export const FLAG: Schema = { enum: ["0", "1"] };

/** An object with these members, and maybe others; `required` are the names that are always there. */
export const shape = (
  required: readonly string[],
  properties: Readonly<Record<string, Schema>>,
  description?: string,
): Schema => ({
  type: "object",
  ...(description === undefined ? {} : { description }),
  required,
  properties,
});

/** The same with no others. */
export const closed = (
  required: readonly string[],
  properties: Readonly<Record<string, Schema>>,
  description?: string,
): Schema => ({ ...shape(required, properties, description), additionalProperties: false });

/** A list. */
export const list = (items: Schema): Schema => ({ type: "array", items });

/** A parameter. */
export const parameter = (description: string, schema: Schema = STRING): Parameter => ({
  description,
  schema,
});

/** One that has to be there, with an example. */
export const needed = (
  description: string,
  example: JsonValue,
  schema: Schema = STRING,
): Parameter => ({ description, schema, required: true, example });

/** 200 with a body. */
export const ok = (description: string, schema: Schema, mediaType?: string): OperationAnswer => ({
  description,
  schema,
  ...(mediaType === undefined ? {} : { mediaType }),
});

/** An answer with problem details. */
export const problem = (description: string): OperationAnswer => ({
  description,
  mediaType: PROBLEM_MEDIA_TYPE,
  schema: ref("Problem"),
});
