// SPDX-License-Identifier: Apache-2.0
/** The parts of the configuration that say how connections to hubs are protected, and whose tokens are accepted there. */
import { object, path } from "./schema-parts.ts";
import type { Schema } from "./schema-parts.ts";

const flag = (description: string): Schema => ({
  type: "boolean",
  title: "true or false",
  description,
  default: false,
});

const text = (description: string): Schema => ({
  type: "string",
  title: "a text of 1 to 512 characters",
  description,
  minLength: 1,
  maxLength: 512,
});

/** `tls` of a hub. */
export const doorTls: Schema = object(
  "TLS 1.3 at the hub's port; plain text without it.",
  ["key", "cert"],
  {
    key: path("The server's private key, PEM."),
    cert: path("The server's certificate and those between it and an authority, PEM."),
    clientCa: path("Certificates, PEM, of who vouches for those of clients."),
    requireClientCertificate: flag(
      "Agents and hubs have to show a certificate of their device's key; with clientCa one that is vouched for.",
    ),
    requirePq: flag("Turn away who does not have the key exchange X25519MLKEM768."),
  },
);

/** `hubTls` of an agent or a hub. */
export const hubTls: Schema = object("How hubs are connected to over wss.", [], {
  ca: path("Certificates, PEM, of who vouches for hubs; those of the system by default."),
  cert: path("A certificate, PEM, of this device's key, for hubs that ask for one."),
  requirePq: flag("Connect only with the key exchange X25519MLKEM768."),
});

/** `yjs` of a hub. */
export const yjs: Schema = object(
  "The endpoint /yjs for Yjs clients, which is there once tokens are accepted.",
  [],
  {
    origins: {
      type: "array",
      title: "a list of origins",
      description:
        "Origins of pages that may connect, besides those that the hub's own host serves.",
      maxItems: 256,
      uniqueItems: true,
      default: [],
      items: {
        type: "string",
        title: 'an origin such as "https://editor.example.org"',
        pattern: "^(https?://[A-Za-z0-9.\\[\\]:_-]+|null)$",
        maxLength: 512,
      },
    },
  },
);

/** `auth` of a hub. */
export const auth: Schema = object(
  "Whose access tokens are accepted at the endpoints for them.",
  ["issuer", "audience"],
  {
    issuer: text("The iss of tokens, to the letter."),
    audience: text("The aud that tokens have for this hub."),
    type: {
      enum: ["at+jwt", "JWT"],
      description: "The typ in the header of tokens.",
      default: "at+jwt",
    },
    keyFile: path("A JWK set with the issuer's keys; this or keyUrl."),
    keyUrl: {
      type: "string",
      title: "an https URL",
      description: "Where the issuer publishes its JWK set; this or keyFile.",
      pattern: "^https://[^/ ]+(/[^ ]*)?$",
      maxLength: 2_048,
    },
    keyCa: path("Certificates, PEM, of who vouches for keyUrl; those of the runtime by default."),
    revocations: path(
      'Revoked tokens, { "tokens": [<jti>], "subjects": [<sub>] }; read as it changes.',
    ),
  },
);
