// SPDX-License-Identifier: Apache-2.0
/** Names of facts as resources: `ctx://SPACE/DOC/KEY`, each part percent-encoded (RFC 3986), so that a slash in it is `%2F`. */

/** The URI template (RFC 6570, level 1) of a fact. */
export const FACT_TEMPLATE = "ctx://{space}/{doc}/{key}";

/** What a URI names. */
export interface FactName {
  /** Id of the space, 64 hex digits, or its name. */
  readonly space: string;
  readonly doc: string;
  readonly key: string;
}

const FACT_URI = /^ctx:\/\/([^/?#]+)\/([^/?#]+)\/([^/?#]+)$/u;
/** The longest name that a fact can have, each byte as three characters. */
const MAX_LENGTH = 4_096;

/** The URI of a fact. */
export const factUri = ({ space, doc, key }: FactName): string =>
  `ctx://${[space, doc, key].map(encodeURIComponent).join("/")}`;

/** What a URI names; undefined for one of another form. */
export function parseFactUri(uri: string): FactName | undefined {
  const parts = uri.length > MAX_LENGTH ? null : FACT_URI.exec(uri);
  if (parts === null) return undefined;
  try {
    const [space = "", doc = "", key = ""] = parts.slice(1).map(decodeURIComponent);
    return { space, doc, key };
  } catch {
    return undefined;
  }
}
