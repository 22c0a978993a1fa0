// SPDX-License-Identifier: Apache-2.0
/** The parts of an agent's configuration that let leaves and pages connect. */
import { object, path } from "./schema-parts.ts";
import type { Schema } from "./schema-parts.ts";

const listenAt = (example: string): Schema => ({
  type: "string",
  title: `an address with a port, such as "${example}"`,
  description: "Where to listen. Port 0 takes any free one.",
  pattern: "^([A-Za-z0-9._-]+|\\[[0-9A-Fa-f:.]+\\]):[0-9]{1,5}$",
  maxLength: 300,
});

/** `leaves` of an agent. */
export const leaves: Schema = object(
  "Where leaves connect, which are small devices with a program of their own; nowhere without it.",
  ["listen", "secretFile"],
  {
    listen: listenAt("0.0.0.0:7420"),
    secretFile: path(
      "The secret of which the keys of leaves are made; made, for this user alone, when there is no such file.",
    ),
  },
);

/** `pages` of an agent. */
export const pages: Schema = object(
  "Where replicas in pages connect, over WebSockets without TLS, which a proxy adds; nowhere without it.",
  ["listen"],
  { listen: listenAt("127.0.0.1:7430") },
);
