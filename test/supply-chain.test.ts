// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: what is installed is what was chosen.
 * Method: read package-lock.json and compare it with the floors of version-floors.json (the project
 * has to work where no audit service can be reached), with exact versions, and with short lists of
 * what may run scripts and of licences. The rules are pure functions, and planted faults show that
 * each of them bites.
 */
import { globSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";

/** One installed package, by its folder in `packages` of a lockfile of version 3. */
interface LockEntry {
  readonly version?: string;
  readonly resolved?: string;
  readonly integrity?: string;
  readonly link?: boolean;
  readonly license?: string;
  readonly hasInstallScript?: boolean;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

interface Lockfile {
  readonly lockfileVersion: number;
  readonly packages: Readonly<Record<string, LockEntry>>;
}

interface Floor {
  readonly min: string;
  /** The first version that is too new. */
  readonly below?: string;
  /** Copies that nothing of ours is made with. */
  readonly except?: readonly string[];
  /** Do not insist that the package is installed. */
  readonly ifPresent?: boolean;
  readonly reason: string;
  readonly advisories: readonly string[];
}

type Floors = Readonly<Record<string, Floor>>;

const EXACT = /^(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?$/u;
/** Packages that come with a script for installing; the last one works without running its. */
const INSTALL_SCRIPTS = new Set(["node", "classic-level", "koffi"]);
const LICENCES = new Set([
  "0BSD",
  "Apache-2.0",
  "Apache-2.0 OR MIT",
  "BSD-2-Clause",
  "BSD-3-Clause",
  "ISC",
  "MIT",
  "Unlicense",
  "(AFL-2.1 OR BSD-3-Clause)",
]);
/** Tools of development that are never shipped, and what they may be under besides: the CSS compiler of the test runner's bundler, and the memory server that ours is compared with, which names a file. */
const TOOLS: readonly (readonly [name: RegExp, licence: string])[] = [
  [/^lightningcss(?:-|$)/u, "MPL-2.0"],
  [/^@modelcontextprotocol\/server-memory$/u, "SEE LICENSE IN LICENSE"],
];
const isTool = (name: string, licence: string): boolean =>
  TOOLS.some(([tool, allowed]) => tool.test(name) && licence === allowed);

const IN_MODULES = "node_modules/";
/** The package's name: `a/node_modules/@b/c` is `@b/c`; undefined for the root and for workspaces. */
const nameAt = (path: string): string | undefined =>
  path.includes(IN_MODULES)
    ? path.slice(path.lastIndexOf(IN_MODULES) + IN_MODULES.length)
    : undefined;

/** Negative, 0 or positive as version `a` is before, equal to or after `b`. A pre-release is before its release; two of one release are equal. */
function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((text) => {
    const parts = EXACT.exec(text);
    if (parts === null) throw new Error(`${text} is no exact version`);
    return [...parts.slice(1, 4).map(Number), parts[4] === undefined ? 1 : 0];
  });
  const at = x?.findIndex((part, i) => part !== y?.[i]) ?? -1;
  return at < 0 ? 0 : (x?.[at] ?? 0) - (y?.[at] ?? 0);
}

function underFloor({ packages }: Lockfile, floors: Floors): string[] {
  const problems: string[] = [];
  for (const [name, { min, below, except = [], ifPresent = false }] of Object.entries(floors)) {
    const copies = Object.entries(packages).filter(
      ([path, { link }]) => nameAt(path) === name && link !== true && !except.includes(path),
    );
    if (copies.length === 0 && !ifPresent) problems.push(`${name} is not installed`);
    for (const [path, { version = "" }] of copies) {
      if (compareVersions(version, min) < 0) {
        problems.push(`${path} ${version} is under ${min}`);
      } else if (below !== undefined && compareVersions(version, below) >= 0) {
        problems.push(`${path} ${version} is not below ${below}`);
      }
    }
  }
  return problems;
}

/** Dependencies of the root and the workspaces that leave a choice to the installer; peers are the choice of whoever installs an adapter. */
const inexact = ({ packages }: Lockfile): string[] =>
  Object.entries(packages)
    .filter(([path]) => nameAt(path) === undefined)
    .flatMap(([path, entry]) =>
      Object.entries({
        ...entry.dependencies,
        ...entry.devDependencies,
        ...entry.optionalDependencies,
      })
        .filter(([, version]) => !EXACT.test(version))
        .map(([name, version]) => `${path}: ${name} ${version}`),
    );

/** Packages bound to a host, or whose bytes are not pinned. */
const unpinned = ({ packages }: Lockfile): string[] =>
  Object.entries(packages).flatMap(([path, { resolved, integrity, link }]) => [
    ...(resolved !== undefined && (link !== true || /:/u.test(resolved))
      ? [`${path} is bound to ${resolved}`]
      : []),
    ...(nameAt(path) !== undefined && link !== true && integrity?.startsWith("sha512-") !== true
      ? [`${path} has no SHA-512`]
      : []),
  ]);

const withScripts = ({ packages }: Lockfile): string[] =>
  Object.entries(packages)
    .filter(([path, { hasInstallScript }]) => {
      const name = nameAt(path);
      return hasInstallScript === true && (name === undefined || !INSTALL_SCRIPTS.has(name));
    })
    .map(([path]) => `${path} runs a script when installed`);

const unlicensed = ({ packages }: Lockfile): string[] =>
  Object.entries(packages)
    .filter(([path, { link, license = "" }]) => {
      const allowed = LICENCES.has(license) || isTool(nameAt(path) ?? "", license);
      return link !== true && !allowed;
    })
    .map(([path, { license }]) => `${path} has the licence ${license ?? "unknown"}`);

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));

describe("package-lock.json", () => {
  const lock = readJson("package-lock.json") as Lockfile;
  const floors = readJson("test/version-floors.json") as Floors;

  test("has the format that is read here, and holds more than our own packages", () => {
    expect(lock.lockfileVersion).toBe(3);
    expect(
      Object.keys(lock.packages).filter((path) => nameAt(path) !== undefined).length,
    ).toBeGreaterThan(100);
  });

  test("has every package of version-floors.json within its bounds, nested copies too", () => {
    expect(underFloor(lock, floors)).toEqual([]);
  });

  test("has exact versions wherever we choose one", () => {
    expect(inexact(lock)).toEqual([]);
  });

  test("says what every workspace's package.json says", () => {
    for (const path of ["package.json", ...globSync("{packages/*,edge-agent,hub}/package.json")]) {
      const manifest = readJson(path) as LockEntry;
      const entry = lock.packages[path.replace(/\/?package\.json$/u, "")];
      for (const kind of ["dependencies", "peerDependencies", "devDependencies"] as const) {
        expect(entry?.[kind] ?? {}, `${kind} of ${path}`).toEqual(manifest[kind] ?? {});
      }
    }
  });

  test("is bound to no registry, and pins the bytes of every package", () => {
    expect(unpinned(lock)).toEqual([]);
  });

  test("runs scripts of packages on the list only, which is the one in package.json", () => {
    const { allowScripts } = readJson("package.json") as {
      readonly allowScripts: Readonly<Record<string, boolean>>;
    };
    expect(new Set(Object.keys(allowScripts))).toEqual(INSTALL_SCRIPTS);
    expect(withScripts(lock)).toEqual([]);
  });

  test("has only licences that this project can be shipped with", () => {
    expect(unlicensed(lock)).toEqual([]);
  });

  test("every floor has its reason, and advisories are named by number", () => {
    for (const [name, { min, reason, advisories }] of Object.entries(floors)) {
      expect(min, name).toMatch(EXACT);
      expect(reason.length, name).toBeGreaterThan(10);
      for (const advisory of advisories) {
        expect(advisory, name).toMatch(/^CVE-\d{4}-\d+$|^GHSA(?:-[0-9a-z]{4}){3}$/u);
      }
    }
  });
});

const sound: LockEntry = { version: "1.2.3", integrity: "sha512-AAAA", license: "MIT" };
const lockOf = (packages: Readonly<Record<string, LockEntry>>): Lockfile => ({
  lockfileVersion: 3,
  packages: {
    "": { license: "Apache-2.0" },
    "packages/a": { license: "Apache-2.0", dependencies: { b: "1.2.3" } },
    "node_modules/@ours/a": { resolved: "packages/a", link: true },
    "node_modules/b": sound,
    ...packages,
  },
});
const floorsOf = (floor: Partial<Floor>): Floors => ({
  b: { min: "1.2.3", reason: "", advisories: [], ...floor },
});

describe("the checks", () => {
  test("find nothing wrong with a sound lockfile", () => {
    const lock = lockOf({});
    const rules = [inexact, unpinned, withScripts, unlicensed];
    expect(rules.flatMap((rule) => rule(lock))).toEqual([]);
    expect(underFloor(lock, floorsOf({}))).toEqual([]);
    expect(underFloor(lock, { c: { ...floorsOf({})["b"]!, ifPresent: true } })).toEqual([]);
  });

  test("report a copy under its floor, deep in the tree", () => {
    const path = "node_modules/x/node_modules/b";
    expect(underFloor(lockOf({ [path]: { ...sound, version: "1.2.2" } }), floorsOf({}))).toEqual([
      `${path} 1.2.2 is under 1.2.3`,
    ]);
  });

  test("report a version that is too new, and a floor for nothing", () => {
    expect(underFloor(lockOf({}), floorsOf({ below: "1.2.3" }))).toEqual([
      "node_modules/b 1.2.3 is not below 1.2.3",
    ]);
    expect(underFloor(lockOf({}), { c: { min: "1.0.0", reason: "", advisories: [] } })).toEqual([
      "c is not installed",
    ]);
  });

  test.for([
    "^1.2.3",
    "~1.2.3",
    "1.x",
    "*",
    "latest",
    ">=1.2.3",
    "1.2",
    "file:../b",
    "git+ssh://h/b",
  ])("report the version %s of ours as inexact", (version) => {
    expect(inexact(lockOf({ hub: { dependencies: { b: version } } }))).toEqual([
      `hub: b ${version}`,
    ]);
  });

  test("report a host, and bytes that are not pinned", () => {
    const resolved = "https://registry.example/b.tgz";
    expect(unpinned(lockOf({ "node_modules/b": { ...sound, resolved } }))).toEqual([
      `node_modules/b is bound to ${resolved}`,
    ]);
    expect(unpinned(lockOf({ "node_modules/b": { version: "1.2.3" } }))).toEqual([
      "node_modules/b has no SHA-512",
    ]);
  });

  test("report a script of a package that is not on the list", () => {
    const script = { ...sound, hasInstallScript: true };
    const lock = lockOf({ "node_modules/b": script, "node_modules/classic-level": script });
    expect(withScripts(lock)).toEqual(["node_modules/b runs a script when installed"]);
  });

  test("report a licence that is not on the list, or none", () => {
    const { license: _, ...none } = sound;
    const lock = lockOf({
      "node_modules/b": { ...sound, license: "AGPL-3.0" },
      "node_modules/c": none,
      "node_modules/d": { ...sound, license: "MPL-2.0" },
      "node_modules/lightningcss-linux-x64-gnu": { ...sound, license: "MPL-2.0" },
    });
    expect(unlicensed(lock)).toEqual([
      "node_modules/b has the licence AGPL-3.0",
      "node_modules/c has the licence unknown",
      "node_modules/d has the licence MPL-2.0",
    ]);
  });

  test("versions compare by number, and a pre-release is before its release", () => {
    const ascending = [
      "0.9.9",
      "1.0.0-rc.1",
      "1.0.0",
      "1.0.2",
      "1.0.10",
      "1.9.0",
      "1.10.0",
      "10.0.0",
    ];
    for (const [i, a] of ascending.entries()) {
      for (const [j, b] of ascending.entries()) {
        expect(Math.sign(compareVersions(a, b)), `${a} ${b}`).toBe(Math.sign(i - j));
      }
    }
  });
});
