// SPDX-License-Identifier: Apache-2.0
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { LIMITS, MeshError } from "@ctxmesh/model";
import { tempDir } from "@ctxmesh/testing";
// oxlint-disable-next-line import/extensions -- ajv has no exports map
import { Ajv2020 } from "ajv/dist/2020.js";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { stringify } from "yaml";
import { agentYaml, hubYaml } from "../src/commands/init-templates.ts";
import { loadConfig, parseConfig } from "../src/config/load.ts";
import { renderConfig } from "../src/config/render.ts";
import { retainedMs } from "../src/config/retain.ts";
import { CONFIG_SCHEMAS } from "../src/config/schema.ts";
import type { Schema } from "../src/config/schema.ts";
import { suggest } from "../src/config/suggest.ts";

const MINIMAL = "space: space.json\nkey: k.jwk\nstore: store\nsocket: a.sock\n";

/** The lines of the error that a text gives. */
function problems(text: string, kind: "agent" | "hub" = "agent"): string[] {
  try {
    parseConfig(kind, text, "dir/a.yaml");
  } catch (error) {
    if (!(error instanceof MeshError) || error.code !== "CONFIG_INVALID") throw error;
    return error.message.split("\n");
  }
  return [];
}

test.each(["agent", "hub"] as const)("the schema of the %s is one of draft 2020-12", (kind) => {
  const ajv = new Ajv2020();
  expect(ajv.validateSchema(CONFIG_SCHEMAS[kind]), ajv.errorsText()).toBe(true);
  expect(ajv.validateSchema({ properties: { store: { minLength: "one" } } })).toBe(false);
});

describe("what is good", () => {
  test("a minimal configuration gets every default, and absolute paths", () => {
    expect(parseConfig("agent", MINIMAL, "/etc/ctxmesh/a.yaml")).toEqual({
      space: "/etc/ctxmesh/space.json",
      key: "/etc/ctxmesh/k.jwk",
      store: "/etc/ctxmesh/store",
      socket: "/etc/ctxmesh/a.sock",
      mesh: { listen: [], peers: [], relays: [], security: "prefer-pq", mdns: false },
      hubs: [],
      retain: "all",
      subscribe: [],
      sources: [],
      links: {},
      factEngine: "wasm",
      log: { level: "info" },
    });
  });

  test("a hub, which reads everything for each seal, keeps facts in JavaScript unless told otherwise", () => {
    const text = hubYaml(4_400, "log.example/x");
    expect(parseConfig("hub", text, "/etc/h.yaml").factEngine).toBe("js");
    expect(parseConfig("hub", `${text}\nfactEngine: wasm\n`, "/etc/h.yaml").factEngine).toBe(
      "wasm",
    );
    expect(problems(`${text}\nfactEngine: java\n`, "hub")[0]).toMatch(/factEngine must be/u);
  });

  test("sources get the defaults and the paths of their type", () => {
    const text = `${MINIMAL}sources:\n  - type: csv\n    path: data.csv\n  - type: host\n`;
    expect(parseConfig("agent", text, "/etc/a.yaml").sources).toEqual([
      { type: "csv", path: "/etc/data.csv", doc: "telemetry", rate: 1, loop: false },
      { type: "host", doc: "telemetry", intervalMs: 1_000, disk: "/" },
    ]);
  });

  test("addresses may be of WebSockets and through relays, and a hub may relay and have hubs", () => {
    const relay = "/ip4/192.0.2.7/tcp/4002/p2p/12D3KooW";
    const peers = [
      "/dns4/x/tcp/443/tls/ws",
      "/dns4/x/tcp/443/wss",
      `${relay}/p2p-circuit/p2p/12D3`,
    ];
    const mesh = { listen: ["/ip4/0.0.0.0/tcp/4001/ws"], peers, relays: [relay] };
    const text = `${MINIMAL}mesh: ${JSON.stringify(mesh)}\n`;
    expect(parseConfig("agent", text, "/etc/a.yaml").mesh).toMatchObject(mesh);
    const more = { relay: { listen: ["/ip4/0.0.0.0/tcp/4002"] }, hubs: ["wss://hub.example"] };
    const lines = Object.entries(more).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
    const hub = `${hubYaml(4_400, "log.example/x")}\n${lines.join("\n")}\n`;
    expect(parseConfig("hub", hub, "/etc/h.yaml")).toMatchObject({
      hubs: more.hubs,
      relay: { ...more.relay, security: "prefer-pq" },
    });
  });

  test("TLS, hubs' TLS and tokens of a hub, with their defaults", () => {
    const more = {
      tls: { key: "hub.key", cert: "hub.pem", requireClientCertificate: true, clientCa: "ca.pem" },
      hubTls: { ca: "ca.pem" },
      auth: { issuer: "https://id.example", audience: "hub", keyUrl: "https://id.example/keys" },
      yjs: { origins: ["https://editor.example", "http://[::1]:5173", "null"] },
    };
    const lines = Object.entries(more).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
    const text = `${hubYaml(4_400, "log.example/x")}\n${lines.join("\n")}\n`;
    expect(parseConfig("hub", text, "/etc/h.yaml")).toMatchObject({
      tls: {
        ...more.tls,
        key: "/etc/hub.key",
        cert: "/etc/hub.pem",
        clientCa: "/etc/ca.pem",
        requirePq: false,
      },
      hubTls: { ca: "/etc/ca.pem", requirePq: false },
      auth: { ...more.auth, type: "at+jwt" },
      yjs: more.yjs,
    });
    expect(
      problems(text.replace('"https://editor.example"', '"editor.example"'), "hub")[0],
    ).toMatch(/yjs\.origins\[0\] must be an origin/u);
    expect(
      problems(text.replace("https://id.example/keys", "http://id.example/keys"), "hub")[0],
    ).toMatch(/auth\.keyUrl must be an https URL/u);
  });

  test("an empty list of what to announce stays one, and is not the same as none", () => {
    const none = parseConfig("agent", `${MINIMAL}mesh: { announce: [] }\n`, "/etc/a.yaml");
    expect(none.mesh.announce).toEqual([]);
    expect(parseConfig("agent", renderConfig(none), "/b.yaml").mesh.announce).toEqual([]);
    expect(parseConfig("agent", MINIMAL, "/etc/a.yaml").mesh.announce).toBeUndefined();
  });

  test("an absolute path stays as it is", () => {
    const text = MINIMAL.replace("store: store", "store: /var/lib/x");
    expect(parseConfig("agent", text, "/etc/a.yaml").store).toBe("/var/lib/x");
  });

  test("what is printed as effective configuration is a configuration with the same effect", () => {
    for (const [kind, text] of [
      ["agent", agentYaml(2, [4_400, 4_401, 4_402])],
      ["hub", hubYaml(4_400, "log.example/x")],
    ] as const) {
      const config = parseConfig(kind, text, "/mesh/a.yaml");
      expect(parseConfig(kind, renderConfig(config), "/elsewhere/b.yaml")).toEqual(config);
    }
  });

  test("credentials in URLs are not printed", () => {
    const text = `${MINIMAL}hubs:\n  - wss://user:secret@hub.example/x\n`;
    const shown = renderConfig(parseConfig("agent", text, "a.yaml"));
    expect(shown).toContain("wss://***@hub.example/x");
    expect(shown).not.toContain("secret");
  });
});

describe("what an agent retains", () => {
  test.each([
    ["all", {}],
    ["sealed+12h", { retainSealedMs: 43_200_000 }],
    ["sealed+30d", { retainSealedMs: 2_592_000_000 }],
  ])("%s", (text, expected) => {
    const { retain } = parseConfig("agent", `${MINIMAL}retain: ${text}\n`, "a.yaml");
    expect(retainedMs(retain)).toEqual(expected);
  });

  test.each(["sealed", "sealed+0d", "sealed+30", "sealed+10000d", "30d", "sealed+1.5h", "3"])(
    "not %s",
    (text) => {
      expect(problems(`${MINIMAL}retain: ${text}\n`)).toEqual([
        "dir/a.yaml:5:9: retain must be all, or sealed+ and a span such as sealed+30d or sealed+12h",
      ]);
    },
  );

  test("a hub retains everything, so that whoever comes late finds it there", () => {
    const text = `${hubYaml(4_400, "log.example/x")}retain: all\n`;
    expect(() => parseConfig("hub", text, "a.yaml")).toThrow(/unknown key "retain"/u);
  });
});

describe("what is wrong is named with file, line and column", () => {
  test("an unknown key, with the one that was meant", () => {
    expect(problems(`${MINIMAL}mesh:\n  peerz: []\n`)).toEqual([
      'dir/a.yaml:6:3: unknown key "peerz" in mesh; did you mean "peers"?',
    ]);
    expect(problems(`${MINIMAL}hbus: []\n`)[0]).toContain(
      ':5:1: unknown key "hbus"; did you mean "hubs"?',
    );
  });

  test("an unknown key like no other, with the known ones", () => {
    expect(problems(`${MINIMAL}log:\n  zzzzzz: 1\n`)).toEqual([
      'dir/a.yaml:6:3: unknown key "zzzzzz" in log; known are level',
    ]);
  });

  test("an option of another source type is unknown there", () => {
    const text = `${MINIMAL}sources:\n  - type: host\n    rate: 3\n`;
    expect(problems(text)[0]).toMatch(/^dir\/a\.yaml:7:5: unknown key "rate" in sources\[0\]/u);
  });

  test("every problem at once, in the order of the file", () => {
    const text = [
      "space: 1",
      "key: k.jwk",
      "stoer: x",
      "socket: a.sock",
      "mesh:",
      "  listen: [/ip4/127.0.0.1/udp/1]",
      "hubs: [http://hub]",
      "sources:",
      "  - type: cvs",
      "  - type: csv",
      "    rate: 0",
      "log:",
      "  level: verbose",
      "",
    ].join("\n");
    expect(problems(text)).toEqual([
      'dir/a.yaml:1:1: the key "store" is missing',
      "dir/a.yaml:1:8: space must be a path",
      'dir/a.yaml:3:1: unknown key "stoer"; did you mean "store"?',
      'dir/a.yaml:6:12: mesh.listen[0] must be a multiaddress such as "/ip4/127.0.0.1/tcp/4401"',
      'dir/a.yaml:7:8: hubs[0] must be a WebSocket URL such as "ws://127.0.0.1:4400"',
      'dir/a.yaml:9:11: sources[0].type must be one of host, csv; did you mean "csv"?',
      'dir/a.yaml:10:5: the key "path" is missing in sources[1]',
      "dir/a.yaml:11:11: sources[1].rate must be a number of rows per second, above 0 and up to 100000",
      "dir/a.yaml:13:10: log.level must be one of debug, info, warn, error",
    ]);
  });

  test.each([
    ["", /must be a mapping/u],
    ["- a\n", /must be a mapping/u],
    [`${MINIMAL}key: again\n`, /:5:1: .*unique/u],
    [`${MINIMAL}hubs: [a\n`, /a\.yaml:\d+:\d+: /u],
    ["\tspace: x\n", /:1:1: .*[Tt]abs/u],
    [`${MINIMAL}hubs: [!env "ws://h"]\n`, /:5:8: Unresolved tag/u],
    [`${MINIMAL}---\n${MINIMAL}`, /a\.yaml:\d+:\d+: /u],
    [`${MINIMAL}log: &l {level: info}\nmesh: *l\n`, /unknown key "level"/u],
  ])("the text %j", (text, expected) => {
    expect(problems(text).join("\n")).toMatch(expected);
  });

  test("a bomb of aliases is refused", () => {
    const levels = Array.from(
      { length: 12 },
      (_, i) =>
        `  a${String(i)}: &a${String(i)} [${i === 0 ? "x" : `*a${String(i - 1)},`.repeat(10)}]`,
    );
    expect(problems(`${MINIMAL}x:\n${levels.join("\n")}\n`)).toEqual([
      expect.stringMatching(/^dir\/a\.yaml:1:1: .*alias/u),
    ]);
  });

  test("a missing file and one that is too large", async () => {
    await using dir = await tempDir();
    const path = join(dir.path, "a.yaml");
    await expect(loadConfig("agent", path)).rejects.toMatchObject({
      code: "FILE_UNAVAILABLE",
      message: expect.stringContaining(path) as string,
    });
    await writeFile(path, "#".repeat(LIMITS.smallFileBytes + 1));
    await expect(loadConfig("agent", path)).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });
});

type Tree = Record<string, unknown>;

const VALID: Tree = {
  space: "space.json",
  key: "k.jwk",
  store: "store",
  socket: "a.sock",
  mesh: { listen: ["/ip4/127.0.0.1/tcp/1"], peers: ["/dns4/x/tcp/2/p2p/12D3KooW"] },
  hubs: ["ws://h"],
  sources: [
    {
      type: "host",
      name: "n",
      doc: "d",
      intervalMs: 500,
      disk: "/",
      also: [{ key: "k", confidence: 1 }],
    },
    {
      type: "csv",
      path: "p.csv",
      rate: 2,
      loop: true,
      confidence: 0.5,
      also: [{ doc: "d", key: "k", from: "v" }],
    },
  ],
  log: { level: "warn" },
};

/** Every mapping and every value in the tree, by its path. */
function pathsOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, item]) => pathsOf(item, [...path, key]))];
}

const at = (tree: unknown, path: readonly string[]): unknown =>
  path.reduce((value: unknown, key) => (value as Tree)[key], tree);

const REQUIRED: ReadonlySet<string> = new Set(["space", "key", "store", "socket", "type", "path"]);

/** Breaks the tree in one way that no configuration can have; returns whether it could. */
function mutate(tree: Tree, path: readonly string[], kind: string): boolean {
  const name = path.at(-1);
  const parent = at(tree, path.slice(0, -1)) as Tree;
  const value = at(tree, path);
  if (kind === "unknown" && typeof value === "object" && !Array.isArray(value)) {
    (value as Tree)["zz-unknown"] = 1;
    return true;
  }
  if (name === undefined) return false;
  if (kind === "rename" && !Array.isArray(parent)) {
    parent[`${name}x`] = value;
    delete parent[name];
    return true;
  }
  if (kind === "missing" && REQUIRED.has(name) && !Array.isArray(parent)) {
    delete parent[name];
    return true;
  }
  if (kind === "type") {
    parent[name] = typeof value === "object" ? "text" : [{}];
    return true;
  }
  return false;
}

test("no unknown key, no missing key and no wrong type anywhere starts silently", () => {
  expect(parseConfig("agent", stringify(VALID), "a.yaml")).toBeDefined();
  const path = fc.constantFrom(...pathsOf(VALID));
  const kind = fc.constantFrom("unknown", "rename", "missing", "type");
  fc.assert(
    fc.property(path, kind, (where, how) => {
      const tree = structuredClone(VALID);
      fc.pre(mutate(tree, where, how));
      const found = problems(stringify(tree));
      expect(found).not.toEqual([]);
      for (const line of found) expect(line).toMatch(/^dir\/a\.yaml:[1-9][0-9]*:[1-9][0-9]*: ./u);
    }),
    { numRuns: 200 },
  );
});

test("any text is a configuration or a CONFIG_INVALID", () => {
  const cut = fc.record({
    from: fc.nat(),
    length: fc.nat(20),
    insert: fc.string({ maxLength: 6 }),
  });
  const text = agentYaml(1, [1, 2, 3]);
  fc.assert(
    fc.property(cut, ({ from, length, insert }) => {
      const start = from % text.length;
      const changed = text.slice(0, start) + insert + text.slice(start + length);
      expect(Array.isArray(problems(changed))).toBe(true);
    }),
    { numRuns: 300 },
  );
});

/** Schemas of mappings, wherever they are. */
function mappings(schema: unknown): Schema[] {
  if (typeof schema !== "object" || schema === null) return [];
  const inner = Object.values(schema).flatMap(mappings);
  return "additionalProperties" in schema ? [schema, ...inner] : inner;
}

describe("schema", () => {
  test("every mapping is closed, or says what its values are, and every key is explained", () => {
    for (const schema of Object.values(CONFIG_SCHEMAS)) {
      for (const { additionalProperties, properties = {} } of mappings(schema)) {
        expect(additionalProperties).toSatisfy(
          (more) => more === false || typeof (more as Schema).title === "string",
        );
        for (const [key, property] of Object.entries(properties)) {
          expect(property["description"] ?? property["const"], key).toBeDefined();
        }
      }
    }
  });
});

test("a suggestion is near, or there is none", () => {
  expect(suggest("sokcet", ["space", "socket"])).toBe("socket");
  expect(suggest("LOG", ["log"])).toBe("log");
  expect(suggest("completely-else", ["log", "space"])).toBeUndefined();
});
