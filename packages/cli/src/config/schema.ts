// SPDX-License-Identifier: Apache-2.0
/**
 * JSON Schemas (draft 2020-12) of the configuration files: the one place of defaults and limits, used
 * by the daemons and by editors. A `title` reads as the end of "must be ...". `format: path` marks
 * what is resolved against the file's folder.
 */
import { RATE } from "@ctxmesh/service";
import { RETAIN } from "./retain.ts";
import { api } from "./schema-api.ts";
import { leaves, pages } from "./schema-leaves.ts";
import { object, path } from "./schema-parts.ts";
import type { Schema } from "./schema-parts.ts";
import { auth, doorTls, hubTls, yjs } from "./schema-security.ts";
import { askedWitnesses, asWitness } from "./schema-witness.ts";
import type { ConfigKind } from "./types.ts";

export type { Schema } from "./schema-parts.ts";

const NAME = "[A-Za-z0-9][A-Za-z0-9._-]*";

const documentName: Schema = {
  type: "string",
  title: 'a document name such as "line-2/press-7"',
  description: "The document that the facts belong to.",
  pattern: `^${NAME}(/${NAME})*$`,
  maxLength: 200,
};

const keyText = (description: string): Schema => ({
  type: "string",
  title: "a key without control characters",
  description,
  minLength: 1,
  maxLength: 512,
  pattern: "^[^\\u0000-\\u001f\\u007f]+$",
});

const confidence: Schema = {
  type: "number",
  title: "a number from 0 to 1",
  description: "How sure the source is.",
  minimum: 0,
  maximum: 1,
};

const also: Schema = {
  type: "array",
  title: "a list of keys",
  description: "Further keys that get the newest value; agents that name the same one share it.",
  maxItems: 16,
  items: object("A shared key.", ["key"], {
    doc: documentName,
    key: keyText("The shared key."),
    from: keyText("The metric or column whose value is written; the first one by default."),
    confidence,
  }),
};

const stopAfterMs: Schema = {
  type: "integer",
  title: "a whole number of milliseconds from 1",
  description: "Write no more this many milliseconds after the start; goes on by default.",
  minimum: 1,
  maximum: Number.MAX_SAFE_INTEGER,
};

const hostSource = object("The state of this machine.", ["type"], {
  type: { const: "host" },
  name: keyText("Middle part of the keys host/<name>/<metric>; the host name by default."),
  doc: { ...documentName, default: "telemetry" },
  intervalMs: {
    type: "integer",
    title: "a whole number of milliseconds from 100 to 86400000",
    description: "Milliseconds between readings.",
    minimum: 100,
    maximum: 86_400_000,
    default: 1_000,
  },
  disk: { ...path("A path on the file system to measure."), default: "/" },
  stopAfterMs,
  also,
});

const csvSource = object("Replays a CSV file.", ["type", "path"], {
  type: { const: "csv" },
  path: path("A CSV file with the header timestamp,<column>,..."),
  name: keyText("First part of the keys <name>/<column>; the file's name by default."),
  doc: { ...documentName, default: "telemetry" },
  rate: {
    type: "number",
    title: "a number of rows per second, above 0 and up to 100000",
    description: "Rows per second.",
    exclusiveMinimum: 0,
    maximum: 100_000,
    default: 1,
  },
  loop: {
    type: "boolean",
    title: "true or false",
    description: "Start again at the end of the file.",
    default: false,
  },
  confidence,
  stopAfterMs,
  also,
});

const when = (type: string, schema: Schema): Schema => ({
  if: { properties: { type: { const: type } }, required: ["type"] },
  // oxlint-disable-next-line unicorn/no-thenable -- a keyword of JSON Schema
  then: schema,
});

const sources: Schema = {
  type: "array",
  title: "a list of sources",
  description: "What the agent writes by itself.",
  maxItems: 64,
  default: [],
  items: {
    type: "object",
    title: "a source",
    required: ["type"],
    properties: { type: { enum: ["host", "csv"] } },
    allOf: [when("host", hostSource), when("csv", csvSource)],
  },
};

const multiaddresses = (description: string): Schema => ({
  type: "array",
  title: "a list of multiaddresses",
  description,
  maxItems: 256,
  uniqueItems: true,
  default: [],
  items: {
    type: "string",
    title: 'a multiaddress such as "/ip4/127.0.0.1/tcp/4401"',
    pattern:
      "^/(ip4|ip6|dns|dns4|dns6)/[^/ ]+/tcp/[0-9]{1,5}(/ws|/wss|/tls/ws)?(/p2p/[A-Za-z0-9]+(/p2p-circuit/p2p/[A-Za-z0-9]+)?)?$",
  },
});

const log = object(
  "Logging.",
  [],
  {
    level: {
      enum: ["debug", "info", "warn", "error"],
      description: "Least severe level that is logged.",
      default: "info",
    },
  },
  { default: {} },
);

const name = (description: string): Schema => ({
  type: "string",
  title: "a name",
  description,
  minLength: 1,
  maxLength: 255,
});

const encryption = object(
  "What protects the store's key: one of these; a file store.key beside the device key by default.",
  [],
  {
    off: {
      const: true,
      title: "true",
      description: "Nothing in the store is encrypted; decided when the store is made.",
    },
    keyFile: path("A key file; made when the store is."),
    credential: name("The name of a systemd credential."),
    environment: name("The name of an environment variable."),
    pkcs11: object("An AES key in a hardware token.", ["module", "token", "key", "pinFile"], {
      module: path("The vendor's library."),
      token: name("The token's label."),
      key: name("The key's label."),
      pinFile: path("A file that holds the user PIN."),
    }),
  },
  {
    title: "a mapping with one of keyFile, credential, environment, pkcs11, off",
    maxProperties: 1,
  },
);

const links: Schema = {
  type: "object",
  title: "a mapping from devices, addresses or default to rates",
  description:
    "How much may go to whom: by the first 8 or more hex digits of a device, by address with * for any text, or by default; as 256kbit, 2mbit, 1gbit or unlimited.",
  maxProperties: 256,
  propertyNames: { minLength: 1, maxLength: 512 },
  additionalProperties: {
    type: "string",
    title: 'a rate such as "256kbit", 8kbit at least, or unlimited',
    pattern: RATE.source,
  },
  default: {},
};

const factEngine = (engine: "wasm" | "js"): Schema => ({
  enum: ["wasm", "js"],
  description:
    "What keeps the facts of large documents: wasm, where Node has WebAssembly, takes a quarter of the memory of js and merges sooner; js reads single facts sooner.",
  default: engine,
});

const node: Readonly<Record<string, Schema>> = {
  space: path("The space file, with the grants of its members."),
  key: path("This device's key, an Ed25519 JWK with mode 0600."),
  store: path("Folder of the store; created when missing."),
  encryption,
  socket: path("Unix socket of the local API."),
  api,
  links,
  log,
};

const subscribe: Schema = {
  type: "array",
  title: "a list of rules such as doc:line-2/, key:temp/**, model:detector or age:7d",
  description:
    "What of others' writes is kept; everything without a rule. Of each kind of rule one has to fit. Headers are always kept, and the rest can be fetched.",
  items: {
    type: "string",
    title: "a rule such as doc:line-2/, key:temp/**, model:detector or age:7d",
    pattern: "^(doc:[A-Za-z0-9][A-Za-z0-9._/-]{0,199}|key:.+|model:.+|age:[1-9][0-9]{0,8}[smhd])$",
    maxLength: 520,
  },
  maxItems: 64,
  default: [],
};

const retain: Schema = {
  type: "string",
  title: "all, or sealed+ and a span such as sealed+30d or sealed+12h",
  description:
    "Which batches are kept: all of them, or those that no seal covers and those of the last days or hours.",
  pattern: RETAIN.source,
  default: "all",
};

const NODE_REQUIRED = ["space", "key", "store", "socket"];
const DRAFT = "https://json-schema.org/draft/2020-12/schema";

/** Without a default: an empty list says something else than none. */
const { default: _, ...announced } = multiaddresses("");

const hubUrls: Schema = {
  type: "array",
  title: "a list of WebSocket URLs",
  description: "Hubs to keep a connection to.",
  maxItems: 16,
  uniqueItems: true,
  default: [],
  items: {
    type: "string",
    title: 'a WebSocket URL such as "ws://127.0.0.1:4400"',
    pattern: "^wss?://[^/ ]+(/[^ ]*)?$",
  },
};

const security: Schema = {
  enum: ["prefer-pq", "require-pq"],
  description:
    "prefer-pq: TLS 1.3 with X25519MLKEM768 where both ends have it, else Noise; require-pq: no connection without it.",
  default: "prefer-pq",
};

const networkKey = path("A network key (swarm.key) that all agents share; others can't connect.");

const relay = object("A relay between agents that can't dial each other.", ["listen"], {
  listen: multiaddresses("Addresses to listen on."),
  announce: {
    ...announced,
    description: "Addresses that agents are told; those of listen by default.",
  },
  security,
  networkKey,
});

const agent: Schema = {
  $schema: DRAFT,
  title: "a mapping",
  ...object("Configuration of ctxmesh agent.", NODE_REQUIRED, {
    ...node,
    factEngine: factEngine("wasm"),
    mesh: object(
      "Connections between agents.",
      [],
      {
        listen: multiaddresses("Addresses to listen on; none: only dials."),
        announce: {
          ...announced,
          description:
            "Addresses that other agents are told, such as that of a gateway that forwards a port; those of listen by default, none when the list is empty.",
        },
        peers: multiaddresses("Agents to keep a connection to."),
        relays: multiaddresses(
          "Relays of hubs through which others reach this agent, each with its /p2p/ id.",
        ),
        security,
        mdns: {
          type: "boolean",
          title: "true or false",
          description:
            "Find agents on the local network, and be found, by multicast DNS. It tells everybody there this device's key and addresses.",
          default: false,
        },
        networkKey,
      },
      { default: {} },
    ),
    retain,
    subscribe,
    hubs: hubUrls,
    hubTls,
    leaves,
    pages,
    sources,
  }),
};

const hub: Schema = {
  $schema: DRAFT,
  title: "a mapping",
  ...object("Configuration of ctxmesh hub.", [...NODE_REQUIRED, "listen", "seal"], {
    ...node,
    factEngine: factEngine("js"),
    hubs: hubUrls,
    hubTls,
    tls: doorTls,
    auth,
    yjs,
    relay,
    listen: object("Where agents and probes connect.", ["port"], {
      host: {
        type: "string",
        title: "an address or host name",
        description: "Address to listen on.",
        pattern: "^[A-Za-z0-9.:_-]+$",
        default: "127.0.0.1",
      },
      port: {
        type: "integer",
        title: "a port from 0 to 65535",
        description: "TCP port; 0 takes any free one.",
        minimum: 0,
        maximum: 65_535,
      },
    }),
    engine: object("A database that several hubs of the space share.", ["url"], {
      url: {
        type: "string",
        title: "an address such as postgres://user@host:5432/database",
        description:
          "PostgreSQL 13 or later. Without an engine the hub's own store is the log of record.",
        pattern: "^postgres(ql)?://",
        maxLength: 2048,
      },
      passwordFile: path("A file with the password, in place of one in the URL."),
      hints: {
        type: "string",
        title: "an address such as nats://host:4222",
        description:
          "A NATS server where hubs tell each other of news; without it they find it some hundredth of a second later.",
        pattern: "^(nats|tls)://",
        maxLength: 2048,
      },
    }),
    seal: object("Seals and the log of seals.", ["key", "log"], {
      key: path("The key that signs snapshots, an ML-DSA-65-Ed25519 JWK."),
      log: object("The log of seals.", ["origin", "ed25519Key", "mldsa44Key"], {
        origin: {
          type: "string",
          title: "a log origin: 1 to 255 printable ASCII characters without space and plus",
          description: "Name of the log: a URL without its scheme.",
          pattern: "^[!-*,-~]{1,255}$",
        },
        ed25519Key: path("The log's Ed25519 JWK."),
        mldsa44Key: path("The log's ML-DSA-44 JWK."),
      }),
      witnesses: askedWitnesses,
    }),
    witness: asWitness,
  }),
};

/** The JSON Schema of each daemon's configuration file. */
export const CONFIG_SCHEMAS: Readonly<Record<ConfigKind, Schema>> = { agent, hub };

/** The text of a schema file for editors. */
export const schemaFileText = (kind: ConfigKind): string =>
  `${JSON.stringify(CONFIG_SCHEMAS[kind], undefined, 2)}\n`;
