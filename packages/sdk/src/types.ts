// SPDX-License-Identifier: Apache-2.0
/**
 * Values by the schemas of a space. `ctxmesh schema types` writes an interface whose members are key prefixes; with it a key says the type of
 * its value, at compile time alone: `connect<Facts>(...)`. The node checks what is written, the client nothing.
 */
import type {
  FactInput,
  JsonValue,
  ReadOrigin,
  VisibleFact,
  WriteOptions,
  WriteReceipt,
} from "@ctxmesh/model";

/** No schemas: every value is any JSON value. */
export type Untyped = unknown;

/** The prefixes of a type map that a key starts with. */
type Matching<Types, Key extends string> = {
  [Prefix in keyof Types & string]: Key extends `${Prefix}${string}` ? Prefix : never;
}[keyof Types & string];

/** Of some prefixes of one key the longest: the one that no other starts with. */
type Longest<Prefixes extends string> = {
  [Prefix in Prefixes]: [Extract<Exclude<Prefixes, Prefix>, `${Prefix}${string}`>] extends [never]
    ? Prefix
    : never;
}[Prefixes];

/** The type of the value under a key: that of the longest prefix which it starts with; any JSON value for a key that is not known before the program runs. */
export type ValueOf<Types, Key extends string> = string extends Key
  ? JsonValue
  : [Matching<Types, Key>] extends [never]
    ? JsonValue
    : Types[Longest<Matching<Types, Key>> & keyof Types];

/** A fact to write, whose value is what its key's schema says. */
export type TypedInput<Types, Key extends string> = Omit<FactInput, "key" | "value"> & {
  readonly key: Key;
  readonly value: ValueOf<Types, Key>;
};

/** A fact that was read. */
export type TypedFact<Types, Key extends string> = Omit<VisibleFact, "value"> &
  Partial<ReadOrigin> & {
    readonly value: ValueOf<Types, Key>;
  };

/** Writes one fact, or several as one unit. */
export type PutCall<Types, Options = WriteOptions> = [keyof Types] extends [never]
  ? (
      doc: string,
      facts: FactInput | readonly FactInput[],
      options?: Options,
    ) => Promise<WriteReceipt>
  : {
      <const Key extends string>(
        doc: string,
        fact: TypedInput<Types, Key>,
        options?: Options,
      ): Promise<WriteReceipt>;
      <const Keys extends readonly string[]>(
        doc: string,
        facts: { readonly [Index in keyof Keys]: TypedInput<Types, Keys[Index]> },
        options?: Options,
      ): Promise<WriteReceipt>;
    };
