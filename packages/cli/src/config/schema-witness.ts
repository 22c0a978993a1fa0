// SPDX-License-Identifier: Apache-2.0
/** The parts of a hub's configuration that are about witnesses: whom it asks, and for whom it is one. */
import { object, path } from "./schema-parts.ts";
import type { Schema } from "./schema-parts.ts";

const name: Schema = {
  type: "string",
  title: "a name: 1 to 255 printable ASCII characters without space and plus",
  description: "Name of the witness: a URL without its scheme.",
  pattern: "^[!-*,-~]{1,255}$",
};

const paths = (description: string, maxItems: number): Schema => ({
  type: "array",
  title: "a list of paths",
  description,
  minItems: 1,
  maxItems,
  items: path(description),
});

/** `seal.witnesses` of a hub. */
export const askedWitnesses: Schema = {
  type: "array",
  title: "a list of witnesses",
  description: "Who is asked, after each seal, to cosign the log.",
  maxItems: 16,
  default: [],
  items: object("A witness (C2SP tlog-witness).", ["url", "name", "keys"], {
    url: {
      type: "string",
      title: 'a URL such as "https://w1.example/witness"',
      description: "Where it is asked: /add-checkpoint comes behind it.",
      pattern: "^https?://[^/ ]+(/[^ ]*)?$",
      maxLength: 2_048,
    },
    name,
    keys: paths("Its keys, ML-DSA-44 or Ed25519, public JWK.", 2),
  }),
};

/** `witness` of a hub. */
export const asWitness: Schema = object(
  "Makes this hub a witness of the logs of others, at /witness.",
  ["name", "keys", "logs"],
  {
    name,
    keys: paths("Keys for this alone, ML-DSA-44 or Ed25519, JWK with mode 0600.", 2),
    logs: paths("Trust roots, or files of verifier keys, that name the logs.", 16),
  },
);
