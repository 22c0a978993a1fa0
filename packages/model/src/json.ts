// SPDX-License-Identifier: Apache-2.0

/** A value of JSON (RFC 8259). */
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [key: string]: JsonValue };
