// SPDX-License-Identifier: Apache-2.0
/** The part of the configuration that opens the local API on TCP. */
import { object, path } from "./schema-parts.ts";
import type { Schema } from "./schema-parts.ts";

/** `api` of an agent or a hub. */
export const api: Schema = object(
  "The local API on TCP, for browsers and whoever can't use the Unix socket; nowhere without it.",
  ["listen", "tokenFile"],
  {
    listen: {
      type: "string",
      title: 'an address of this machine with a port, such as "127.0.0.1:7410"',
      description:
        "Where to listen: on this machine alone, since there is no TLS. Port 0 takes any free one.",
      pattern: "^(127(\\.[0-9]{1,3}){3}|localhost|\\[::1\\]):[0-9]{1,5}$",
    },
    tokenFile: path(
      "The token that clients have to bear; made, for this user alone, when there is no such file.",
    ),
    origins: {
      type: "array",
      title: "a list of origins",
      description: "Origins of pages that may ask; none by default.",
      maxItems: 256,
      uniqueItems: true,
      default: [],
      items: {
        type: "string",
        title: 'an origin such as "http://localhost:5173"',
        pattern: "^(https?://[A-Za-z0-9.\\[\\]:_-]+|null)$",
        maxLength: 512,
      },
    },
  },
);
