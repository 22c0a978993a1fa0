// SPDX-License-Identifier: Apache-2.0
// Made by `ctxmesh schema types`. Do not edit.

/** Any JSON value. */
export type JsonValue =
  | string
  | number
  | boolean
  | null
  | readonly JsonValue[]
  | { readonly [member: string]: JsonValue };

/** Keys that start with "telemetry/", documents "**", version 1.2.0. What a sensor says. *\/ */
export type Telemetry = {
  readonly unit: "C" | "F";
  readonly value: number | null;
  readonly "last-seen"?: string;
};

/** Keys that start with "telemetry/", documents "line-*\/**", version 1.0.0. */
export type TelemetryInLine = readonly [string, (number | null)?, ...JsonValue[]];

/** Keys that start with "plan/", documents "**", version 3.0.0. */
export type Plan =
  | readonly { readonly name: string; readonly [member: string]: JsonValue | undefined }[]
  | null;

/** Keys that start with "labels/", documents "**", version 1.0.0. */
export type Labels = { readonly [member: string]: string };

/** Keys that start with "", documents "**", version 1.0.0. */
export type Any = JsonValue;

/** What holds for the keys with a prefix, in every document. */
export interface Facts {
  readonly "telemetry/": Telemetry;
  readonly "plan/": Plan;
  readonly "labels/": Labels;
  readonly "": Any;
}
