// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: the layers and dependency rules of docs/ARCHITECTURE.md hold in the code.
 * Method: parse the imports of every workspace and compare them with its package.json, its tsconfig
 * references and its layer. The compiler does not check this: a package reached through a
 * node_modules link counts as external, so a missing reference is no error. The rules are pure
 * functions over files, and planted faults show that each of them bites.
 */
import { globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { posix } from "node:path";
import { describe, expect, test } from "vitest";
import { parseSync } from "vite";

const SCOPE = "@ctxmesh/";
/** From the ground up; a package imports only from layers below its own. */
const LAYERS: readonly (readonly string[])[] = [
  ["model"],
  ["codec", "crypto", "facts", "rich", "channel", "sandbox", "schema"],
  ["membership"],
  ["replica", "ledger"],
  [
    "sync",
    "store-level",
    "vault",
    "transport-libp2p",
    "transport-tcp",
    "transport-ws",
    "engine-embedded",
    "engine-postgres",
    "hints-nats",
    "api",
    "auth",
    "yjs-gateway",
    "testing",
  ],
  ["service"],
  ["edge-agent", "hub", "auditor", "sdk"],
  ["simulator", "mcp", "adapter-langgraph", "adapter-ai-sdk", "browser"],
  ["cli"],
];
/** L0 to L2. */
const CORE = LAYERS.slice(0, 4).flat();
/** Packages without I/O, and the Node modules that one of them may use for their pure functions. */
const PURE = [...CORE, "sync"];
const PURE_NODE_MODULES: Readonly<Record<string, string>> = {
  crypto: "node:crypto",
  codec: "node:zlib",
};
const SPDX = /^(?:#!.*\n)?\/\/ SPDX-License-Identifier: Apache-2\.0\n/u;

/** Text by path, relative to the root, with forward slashes. */
type Files = ReadonlyMap<string, string>;

interface Import {
  readonly file: string;
  readonly specifier: string;
}

interface Workspace {
  readonly folder: string;
  /** Without the scope. */
  readonly name: string;
  /** Names in `dependencies` and `peerDependencies`. */
  readonly declared: ReadonlySet<string>;
  /** Folders that tsconfig.json refers to. */
  readonly references: readonly string[];
  readonly imports: readonly Import[];
}

type Rule = (workspaces: readonly Workspace[], files: Files) => readonly string[];

/** A syntax tree, as far as it is walked here. */
interface SyntaxNode {
  readonly type?: string;
  readonly source?: { readonly value?: unknown } | null;
  readonly expression?: { readonly value?: unknown };
}

/** Every module named by `import`, `import type`, `export ... from`, `import()`, a type's `import()`, or `import = require()`. */
function specifiersIn(path: string, text: string): string[] {
  const { program, errors } = parseSync(path, text);
  if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message ?? ""}`);
  const found: string[] = [];
  const visit = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    const node = value as SyntaxNode;
    if (node.type === "TSExternalModuleReference") found.push(String(node.expression?.value));
    if (/^Import|^Export|^TSImport/u.test(node.type ?? "") && node.source) {
      const { value: name } = node.source;
      found.push(typeof name === "string" ? name : "a computed module name");
    }
    for (const child of Object.values(value)) visit(child);
  };
  visit(program);
  return found;
}

/** `@a/b/c` is of package `@a/b`, `a/b` of `a`. */
const packageOf = (specifier: string): string =>
  specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");

/** The members of `a` that are not in `b`. */
const without = (a: ReadonlySet<string>, b: ReadonlySet<string>): string[] =>
  [...a].filter((member) => !b.has(member));

const isRelative = (specifier: string): boolean => specifier.startsWith(".");

function readWorkspaces(files: Files): Workspace[] {
  const workspaces: Workspace[] = [];
  for (const [path, text] of files) {
    if (posix.basename(path) !== "package.json") continue;
    const folder = posix.dirname(path);
    const manifest = JSON.parse(text) as {
      readonly name: string;
      readonly dependencies?: Readonly<Record<string, string>>;
      readonly peerDependencies?: Readonly<Record<string, string>>;
    };
    const { references = [] } = JSON.parse(files.get(`${folder}/tsconfig.json`) ?? "{}") as {
      readonly references?: readonly { readonly path: string }[];
    };
    workspaces.push({
      folder,
      name: manifest.name.replace(SCOPE, ""),
      declared: new Set(Object.keys({ ...manifest.dependencies, ...manifest.peerDependencies })),
      references: references.map((reference) => posix.join(folder, reference.path)),
      imports: [...files]
        .filter(([file]) => file.startsWith(`${folder}/src/`))
        .flatMap(([file, source]) =>
          specifiersIn(file, source).map((specifier) => ({ file, specifier })),
        ),
    });
  }
  return workspaces;
}

/** The packages that a workspace imports: ours, and foreign ones. */
const importedPackages = ({ imports }: Workspace): ReadonlySet<string> =>
  new Set(
    imports
      .map(({ specifier }) => specifier)
      .filter((specifier) => !isRelative(specifier) && !isBuiltin(specifier))
      .map(packageOf),
  );

const ours = (workspace: Workspace): readonly string[] =>
  [...importedPackages(workspace)]
    .filter((name) => name.startsWith(SCOPE))
    .map((name) => name.replace(SCOPE, ""));

const layerOf = (name: string): number => LAYERS.findIndex((layer) => layer.includes(name));

const RULES = {
  "every package has a layer": (workspaces) =>
    workspaces.filter(({ name }) => layerOf(name) < 0).map(({ name }) => `${name} has no layer`),

  "imports point to lower layers only": (workspaces) =>
    workspaces.flatMap((workspace) =>
      ours(workspace)
        .filter((name) => layerOf(name) >= layerOf(workspace.name))
        .map((name) => `${workspace.name} imports ${name}`),
    ),

  "a package is imported by its name alone, and reaches no files but its own": (workspaces) =>
    workspaces.flatMap(({ folder, imports }) =>
      imports
        .filter(({ file, specifier }) =>
          isRelative(specifier)
            ? !posix.join(posix.dirname(file), specifier).startsWith(`${folder}/src/`)
            : specifier.startsWith(SCOPE) && packageOf(specifier) !== specifier,
        )
        .map(({ file, specifier }) => `${file} imports ${specifier}`),
    ),

  "the declared dependencies are the imported packages": (workspaces) =>
    workspaces.flatMap((workspace) => {
      const imported = importedPackages(workspace);
      const { name, declared } = workspace;
      return [
        ...without(imported, declared).map((other) => `${name} does not declare ${other}`),
        ...without(declared, imported).map((other) => `${name} does not use ${other}`),
      ];
    }),

  "the tsconfig references are the imported packages of ours": (workspaces) => {
    const folderOf = new Map(workspaces.map(({ name, folder }) => [name, folder]));
    return workspaces.flatMap((workspace) => {
      const { name } = workspace;
      const imported = new Set(ours(workspace).map((other) => folderOf.get(other) ?? other));
      const referenced = new Set(workspace.references);
      return [
        ...without(imported, referenced).map((other) => `${name} lacks ${other}`),
        ...without(referenced, imported).map((other) => `${name} needs no ${other}`),
      ];
    });
  },

  "a foreign library has one importing package": (workspaces) => {
    const importers = new Map<string, string[]>();
    for (const workspace of workspaces) {
      for (const library of importedPackages(workspace)) {
        if (library.startsWith(SCOPE)) continue;
        importers.set(library, [...(importers.get(library) ?? []), workspace.name]);
      }
    }
    return [...importers]
      .filter(([, names]) => names.length > 1)
      .map(([library, names]) => `${library} is imported by ${names.toSorted().join(", ")}`);
  },

  "a pure package imports no Node module, except crypto its namesake and codec zlib": (
    workspaces,
  ) =>
    workspaces
      .filter(({ name }) => PURE.includes(name))
      .flatMap(({ name, imports }) =>
        imports
          .filter(({ specifier }) => isBuiltin(specifier) && specifier !== PURE_NODE_MODULES[name])
          .map(({ file, specifier }) => `${file} imports ${specifier}`),
      ),

  "the auditor reaches the core alone": (workspaces) => {
    const byName = new Map(workspaces.map((workspace) => [workspace.name, workspace]));
    const reached = new Set(["auditor"]);
    for (const name of reached) {
      const workspace = byName.get(name);
      for (const other of workspace === undefined ? [] : ours(workspace)) reached.add(other);
    }
    reached.delete("auditor");
    return [...reached]
      .filter((name) => !CORE.includes(name))
      .map((name) => `the auditor reaches ${name}`);
  },

  "testing is for tests": (workspaces) =>
    workspaces
      .filter((workspace) => ours(workspace).includes("testing"))
      .map(({ name }) => `${name} imports testing`),

  "every source file begins with the SPDX line": (_, files) =>
    [...files]
      .filter(([path, text]) => /\.[jt]s$/u.test(path) && !SPDX.test(text))
      .map(([path]) => path),
} satisfies Readonly<Record<string, Rule>>;

const rules = Object.entries<Rule>(RULES);

const WORKSPACE = "{packages/*,edge-agent,hub}";
const SOURCES = [
  `${WORKSPACE}/{package,tsconfig}.json`,
  `${WORKSPACE}/{src,test,bin}/**/*.{ts,js}`,
  "{test,scripts}/**/*.ts",
];

describe("the code", () => {
  const files: Files = new Map(
    globSync(SOURCES)
      .filter((path) => !path.includes("node_modules"))
      .map((path) => [path.replaceAll("\\", "/"), readFileSync(path, "utf8")]),
  );
  const workspaces = readWorkspaces(files);

  test("is all there", () => {
    expect(workspaces.map(({ name }) => name).toSorted()).toEqual(LAYERS.flat().toSorted());
    for (const { name, imports } of workspaces) {
      expect(imports.length, name).toBeGreaterThan(0);
    }
  });

  test.for(rules)("%s", ([, rule]) => {
    expect(rule(workspaces, files)).toEqual([]);
  });
});

const HEAD = "// SPDX-License-Identifier: Apache-2.0\n";

/** One package in memory. `source` is its index.ts without the SPDX line. */
const pack = (
  name: string,
  source: string,
  dependencies: readonly string[] = [],
  references: readonly string[] = [],
): readonly (readonly [string, string])[] => [
  [
    `packages/${name}/package.json`,
    JSON.stringify({
      name: `${SCOPE}${name}`,
      dependencies: Object.fromEntries(dependencies.map((other) => [other, "1.0.0"])),
    }),
  ],
  [
    `packages/${name}/tsconfig.json`,
    JSON.stringify({ references: references.map((other) => ({ path: `../${other}` })) }),
  ],
  [`packages/${name}/src/index.ts`, `${HEAD}${source}`],
];

/** A sound project of four packages. */
const SOUND: Files = new Map([
  ...pack("model", "export const one = 1;"),
  ...pack(
    "codec",
    'import { gzipSync } from "node:zlib"; import { encode } from "cborg"; export { one } from "@ctxmesh/model";',
    ["cborg", "@ctxmesh/model"],
    ["model"],
  ),
  ...pack("ledger", 'import type { one } from "@ctxmesh/codec";', ["@ctxmesh/codec"], ["codec"]),
  ...pack("auditor", 'import { one } from "@ctxmesh/ledger";', ["@ctxmesh/ledger"], ["ledger"]),
]);

type RuleName = keyof typeof RULES;
const plant = (...fault: readonly (readonly [string, string])[]): Files =>
  new Map([...SOUND, ...fault]);
const source = (text: string): Files => plant(["packages/model/src/more.ts", HEAD + text]);

/** A fault, and all that the rule named says of it. */
const FAULTS: readonly (readonly [string, Files, RuleName, readonly string[]])[] = [
  [
    "a package nobody planned",
    plant(...pack("extra", "")),
    "every package has a layer",
    ["extra has no layer"],
  ],
  ...[
    'import { encode } from "@ctxmesh/codec";',
    'import type { Encode } from "@ctxmesh/codec";',
    'import "@ctxmesh/codec";',
    'export * from "@ctxmesh/codec";',
    'export type { Encode } from "@ctxmesh/codec";',
    'const late = await import("@ctxmesh/codec");',
    'type Encode = import("@ctxmesh/codec").Encode;',
    'import codec = require("@ctxmesh/codec");',
  ].map(
    (text) =>
      [
        `upward: ${text}`,
        source(text),
        "imports point to lower layers only",
        ["model imports codec"],
      ] as const,
  ),
  [
    "a neighbour in the same layer",
    plant(...pack("crypto", 'import "@ctxmesh/codec";', ["@ctxmesh/codec"], ["codec"])),
    "imports point to lower layers only",
    ["crypto imports codec"],
  ],
  [
    "a file of another package",
    source('export { x } from "../../codec/src/x.ts";'),
    "a package is imported by its name alone, and reaches no files but its own",
    ["packages/model/src/more.ts imports ../../codec/src/x.ts"],
  ],
  [
    "a part of another package",
    plant(["packages/ledger/src/more.ts", `${HEAD}import "@ctxmesh/codec/cbor";`]),
    "a package is imported by its name alone, and reaches no files but its own",
    ["packages/ledger/src/more.ts imports @ctxmesh/codec/cbor"],
  ],
  [
    "an undeclared package of ours",
    plant(...pack("ledger", 'import "@ctxmesh/codec";', [], ["codec"])),
    "the declared dependencies are the imported packages",
    ["ledger does not declare @ctxmesh/codec"],
  ],
  [
    "an undeclared library, imported in part",
    source('import { keys } from "@libp2p/crypto/keys"; import ajv from "ajv/dist/2020.js";'),
    "the declared dependencies are the imported packages",
    ["model does not declare @libp2p/crypto", "model does not declare ajv"],
  ],
  [
    "unused dependencies",
    plant(...pack("model", "", ["ws", "@ctxmesh/codec"])),
    "the declared dependencies are the imported packages",
    ["model does not use ws", "model does not use @ctxmesh/codec"],
  ],
  [
    "a missing and a needless reference",
    plant(...pack("ledger", 'import "@ctxmesh/codec";', ["@ctxmesh/codec"], ["model"])),
    "the tsconfig references are the imported packages of ours",
    ["ledger lacks packages/codec", "ledger needs no packages/model"],
  ],
  [
    "a second importer of a library",
    plant(["packages/auditor/src/more.ts", `${HEAD}import "cborg";`]),
    "a foreign library has one importing package",
    ["cborg is imported by auditor, codec"],
  ],
  [
    "I/O in the core, with and without the prefix",
    source('import "node:fs"; import "fs/promises";'),
    "a pure package imports no Node module, except crypto its namesake and codec zlib",
    [
      "packages/model/src/more.ts imports node:fs",
      "packages/model/src/more.ts imports fs/promises",
    ],
  ],
  [
    "somebody else's exception",
    plant(["packages/codec/src/more.ts", `${HEAD}import "node:crypto";`]),
    "a pure package imports no Node module, except crypto its namesake and codec zlib",
    ["packages/codec/src/more.ts imports node:crypto"],
  ],
  [
    "an auditor that reaches the network through another package",
    plant(...pack("transport-ws", "export {};"), [
      "packages/ledger/src/more.ts",
      `${HEAD}import "@ctxmesh/transport-ws";`,
    ]),
    "the auditor reaches the core alone",
    ["the auditor reaches transport-ws"],
  ],
  [
    "a program that ships test doubles",
    plant(["packages/auditor/src/more.ts", `${HEAD}import "@ctxmesh/testing";`]),
    "testing is for tests",
    ["auditor imports testing"],
  ],
  [
    "files without their licence",
    plant(
      ["packages/model/src/more.ts", "export {};"],
      ["packages/model/test/x.test.ts", ` ${HEAD}`],
    ),
    "every source file begins with the SPDX line",
    ["packages/model/src/more.ts", "packages/model/test/x.test.ts"],
  ],
];

describe("the checker", () => {
  test.for(rules)("finds nothing wrong with a sound project: %s", ([, rule]) => {
    expect(rule(readWorkspaces(SOUND), SOUND)).toEqual([]);
  });

  test.for(FAULTS)("reports %s", ([, files, name, problems]) => {
    expect(RULES[name](readWorkspaces(files), files)).toEqual(problems);
  });

  test("every rule has a planted fault", () => {
    expect(new Set(FAULTS.map(([, , name]) => name))).toEqual(new Set(Object.keys(RULES)));
  });

  test("what is written in comments and strings is no import", () => {
    const text = `// import "a"\nconst s = 'import "b"'; /* export * from "c" */ const t = \`import("d")\`;`;
    expect(specifiersIn("x.ts", text)).toEqual([]);
  });
});
