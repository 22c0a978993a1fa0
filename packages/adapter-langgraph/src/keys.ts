// SPDX-License-Identifier: Apache-2.0
/**
 * Namespaces and keys of LangGraph as keys of facts: `label/label/key`, in which a percent sign, a slash and what keys may not have is written as in
 * RFC 3986, section 2.1. So the items of a namespace are the keys with a prefix, and each key is read back as what it was made of.
 */

/** What an item is found by. */
export interface ItemName {
  readonly namespace: readonly string[];
  readonly key: string;
}

// oxlint-disable-next-line no-control-regex -- they are what is looked for
const SPECIAL = /[%/\u0000-\u001f\u007f-\u009f]/gu;

const encodePart = (text: string): string => text.replaceAll(SPECIAL, encodeURIComponent);

/** The prefix of all keys of a namespace and those below it; of the empty one that is nothing. */
export const prefixOf = (namespace: readonly string[]): string =>
  namespace.map((label) => `${encodePart(label)}/`).join("");

/** The key of the fact that an item is. */
export const factKeyOf = ({ namespace, key }: ItemName): string =>
  prefixOf(namespace) + encodePart(key);

/** What a key was made of; undefined for one that was not made here. */
export function itemNameOf(factKey: string): ItemName | undefined {
  try {
    const parts = factKey.split("/").map(decodeURIComponent);
    const key = parts.pop();
    if (key === undefined || parts.length === 0) return undefined;
    const name = { namespace: parts, key };
    return factKeyOf(name) === factKey ? name : undefined;
  } catch {
    return undefined;
  }
}
