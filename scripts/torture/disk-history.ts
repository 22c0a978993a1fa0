// SPDX-License-Identifier: Apache-2.0
/** What system calls did to a folder. */
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { bytesAfter, namesAfter } from "./disk.ts";
import type { FileNode, FolderNode, Node, Said, Span } from "./disk.ts";
import { bytesOf, descriptorOf, pathOf } from "./trace.ts";
import type { Call } from "./trace.ts";

interface Descriptor {
  readonly node: Node;
  offset: number;
  readonly append: boolean;
}

/** The result of an `open` of which nobody got the descriptor. */
const NO_DESCRIPTOR = Number.MAX_SAFE_INTEGER;
/** The calls that are about a path. */
const PATH_CALLS = /^(?:open|openat|creat|mkdir|mkdirat|unlink|unlinkat|rmdir|rename|renameat)$/u;

/** Calls that would change a file in a way that is not understood here. */
const FOREIGN_CALLS: ReadonlySet<string> = new Set([
  "writev",
  "pwritev",
  "pwritev2",
  "sync_file_range",
  "link",
  "linkat",
  "symlink",
  "symlinkat",
  "renameat2",
  "truncate",
  "fallocate",
  "copy_file_range",
  "sendfile",
  "dup",
  "dup2",
  "dup3",
]);

/** The calls to trace. */
export const TRACED_CALLS: readonly string[] = (
  "open openat creat close write pwrite64 lseek ftruncate fsync fdatasync rename renameat unlink unlinkat " +
  "rmdir mkdir mkdirat mmap fcntl"
)
  .split(" ")
  .concat(...FOREIGN_CALLS);

const newFile = (): FileNode => ({ kind: "file", changes: [], syncs: [] });
const newFolder = (): FolderNode => ({ kind: "folder", changes: [], syncs: [] });

/** The history of one folder, from traces of one process after the other. */
export class DiskHistory {
  readonly root: FolderNode = newFolder();
  readonly said: Said[] = [];
  readonly #path: string;
  readonly #descriptors = new Map<number, Descriptor>();
  /** Calls that the end of their process cut short, with what they would have done. */
  readonly #cut: { readonly happened: () => boolean; readonly apply: (end: number) => void }[] = [];
  #base = 0;
  #now = 0;

  /** `path` is an absolute path of an empty folder. */
  constructor(path: string) {
    this.#path = path;
  }

  /** The time after everything so far. */
  get end(): number {
    return this.#now;
  }

  /**
   * Adds the calls of one process, which has ended, and compares the outcome with the folder on disk: a trace that does
   * not explain every byte is refused with an error, as is a call that is not understood.
   */
  add(calls: readonly Call[]): void {
    const phases = calls.flatMap((call) => [
      {
        at: call.start,
        run: () => {
          this.#begin(call);
        },
      },
      ...(Number.isFinite(call.end)
        ? [
            {
              at: call.end,
              run: () => {
                this.#finish(call);
              },
            },
          ]
        : []),
    ]);
    this.#descriptors.clear();
    for (const { at, run } of phases.toSorted((a, b) => a.at - b.at)) {
      this.#now = this.#base + at + 1;
      run();
    }
    for (const { happened, apply } of this.#cut.splice(0)) if (happened()) apply(this.#now);
    this.#base = ++this.#now;
    this.#compare(this.root, this.#path);
  }

  #span({ start, end }: Call): Span {
    return { start: this.#base + start, end: this.#base + end };
  }

  /** What closes a descriptor does so when it starts; the rest is known when it has ended. */
  #begin(call: Call): void {
    const { name, args } = call;
    if (FOREIGN_CALLS.has(name)) this.#refuseForeign(call);
    if (name === "mmap") this.#refuseMapping(call);
    if (name === "close") this.#descriptors.delete(descriptorOf(args[0]));
    if (name === "fcntl" && args[1]?.startsWith("F_DUPFD") === true) this.#refuseForeign(call);
    if (name === "write" || name === "pwrite64") this.#beginWrite(call);
    else if (!Number.isFinite(call.end)) this.#beginCut(call);
  }

  /** Whether a call that the end of its process cut short has happened is seen in the folder. */
  #beginCut(call: Call): void {
    const { name } = call;
    const path = this.#target(call);
    if (path === undefined) return;
    const from = name.startsWith("rename") ? this.#pathIn(call, 0) : undefined;
    const removes = name.startsWith("unlink") || name === "rmdir";
    this.#cut.push({
      happened: () => (from === undefined ? existsSync(path) !== removes : !existsSync(from)),
      apply: (end) => {
        this.#finish({ ...call, result: NO_DESCRIPTOR, end: end - this.#base });
      },
    });
  }

  #finish(call: Call): void {
    const { name, args, result = -1 } = call;
    if (result === -1) return;
    const descriptor = this.#descriptors.get(descriptorOf(args[0]));
    switch (name) {
      case "open":
      case "openat":
      case "creat":
        this.#open(call, result);
        break;
      case "lseek":
        if (descriptor !== undefined) descriptor.offset = result;
        break;
      case "ftruncate":
        if (descriptor?.node.kind === "file") {
          descriptor.node.changes.push({ ...this.#span(call), offset: Number(args[1]) });
        }
        break;
      case "fsync":
      case "fdatasync":
        descriptor?.node.syncs.push(this.#span(call));
        break;
      case "mkdir":
      case "mkdirat":
        this.#name(call, this.#target(call), newFolder());
        break;
      case "unlink":
      case "unlinkat":
      case "rmdir":
        this.#name(call, this.#target(call), undefined);
        break;
      case "rename":
      case "renameat":
        this.#rename(call);
        break;
      default:
        break;
    }
  }

  /** The absolute path of the `which`-th path argument. */
  #pathIn({ name, args }: Call, which: number): string {
    const relative = name.endsWith("at");
    const argument = relative ? args[2 * which + 1] : args[which];
    const path = bytesOf(argument).toString();
    if (isAbsolute(path)) return resolve(path);
    const folder = relative ? pathOf(args[2 * which]) : undefined;
    if (folder === undefined)
      throw new Error(`a path in the trace is relative to nothing: ${path}`);
    return join(folder, path);
  }

  /** The path that a call is about, when it is in the folder; of a rename the new one. */
  #target(call: Call): string | undefined {
    if (!PATH_CALLS.test(call.name)) return undefined;
    const path = this.#pathIn(call, call.name.startsWith("rename") ? 1 : 0);
    return this.#isInside(path) ? path : undefined;
  }

  #isInside(path: string): boolean {
    return path === this.#path || path.startsWith(`${this.#path}/`);
  }

  #lookUp(path: string): Node | undefined {
    if (path === this.#path) return this.root;
    const folder = this.#lookUp(dirname(path));
    return folder?.kind === "folder" ? namesAfter(folder.changes).get(basename(path)) : undefined;
  }

  #folderOf(path: string): FolderNode {
    const folder = this.#lookUp(dirname(path));
    if (folder?.kind !== "folder") throw new Error(`the trace has no folder for ${path}`);
    return folder;
  }

  #name(call: Call, path: string | undefined, node: Node | undefined): void {
    if (path === undefined) return;
    const creates = node !== undefined;
    this.#folderOf(path).changes.push({
      ...this.#span(call),
      name: basename(path),
      ...(node === undefined ? {} : { node }),
      creates,
    });
  }

  #open(call: Call, descriptor: number): void {
    const path = this.#target(call);
    if (path === undefined) return;
    const flags = call.args.find((arg) => arg.includes("O_")) ?? "O_CREAT|O_TRUNC";
    let node = this.#lookUp(path);
    if (node === undefined) {
      if (!flags.includes("O_CREAT")) throw new Error(`the trace has no file ${path}`);
      node = newFile();
      this.#name(call, path, node);
    } else if (node.kind === "file" && flags.includes("O_TRUNC")) {
      node.changes.push({ ...this.#span(call), offset: 0 });
    }
    if (/O_(?:TMPFILE|DIRECT\b)/u.test(flags)) throw new Error(`${flags} is not understood`);
    this.#descriptors.set(descriptor, { node, offset: 0, append: flags.includes("O_APPEND") });
  }

  #rename(call: Call): void {
    const [from, to] = [this.#pathIn(call, 0), this.#pathIn(call, 1)];
    if (!this.#isInside(from) && !this.#isInside(to)) return;
    const node = this.#lookUp(from);
    if (node === undefined || dirname(from) !== dirname(to)) {
      throw new Error(`a rename is not understood: ${from} to ${to}`);
    }
    const change = { name: basename(to), node, from: basename(from), creates: false };
    this.#folderOf(to).changes.push({ ...this.#span(call), ...change });
  }

  #beginWrite(call: Call): void {
    const { name, args, result } = call;
    const number = descriptorOf(args[0]);
    if (number === 1 && result !== undefined && result > 0) {
      const text = bytesOf(args[1]).subarray(0, result).toString();
      this.said.push({ ...this.#span(call), text });
    }
    const descriptor = this.#descriptors.get(number);
    if (descriptor?.node.kind !== "file") return;
    const { node } = descriptor;
    if (descriptor.append) descriptor.offset = bytesAfter(node.changes).length;
    const offset = name === "pwrite64" ? Number(args[3]) : descriptor.offset;
    const data = bytesOf(args[1]);
    if (result === undefined) {
      this.#beginCutWrite(call, node, offset, data);
    } else if (result > 0) {
      node.changes.push({ ...this.#span(call), offset, data: data.subarray(0, result) });
      if (name === "write") descriptor.offset = offset + result;
    }
  }

  /** How much of a write was done when its process ended is seen in the file. */
  #beginCutWrite(call: Call, node: FileNode, offset: number, data: Uint8Array): void {
    const name = this.#nameOf(node);
    const size = name === undefined || !existsSync(name) ? 0 : statSync(name).size;
    const { start } = this.#span(call);
    const done = data.subarray(0, Math.max(0, size - offset));
    this.#cut.push({
      happened: () => done.length > 0,
      apply: (end) => {
        node.changes.push({ start, end, offset, data: done });
      },
    });
  }

  #nameOf(node: Node, folder = this.root, path = this.#path): string | undefined {
    for (const [name, child] of namesAfter(folder.changes)) {
      const at = join(path, name);
      if (child === node) return at;
      const below = child.kind === "folder" ? this.#nameOf(node, child, at) : undefined;
      if (below !== undefined) return below;
    }
    return undefined;
  }

  #refuseForeign(call: Call): void {
    const about = call.args.some((arg) => {
      if (arg.startsWith('"')) return this.#isInside(bytesOf(arg).toString());
      return /^\d+</u.test(arg) && this.#descriptors.has(descriptorOf(arg));
    });
    if (about) {
      throw new Error(`the call ${call.name} is not understood`);
    }
  }

  #refuseMapping({ args }: Call): void {
    const writes =
      args[2]?.includes("PROT_WRITE") === true && args[3]?.includes("MAP_SHARED") === true;
    if (writes && this.#descriptors.has(descriptorOf(args[4]))) {
      throw new Error("a file that is written through memory is not understood");
    }
  }

  /** Throws unless the folder on disk is what the calls made of it. */
  #compare(folder: FolderNode, path: string): void {
    const names = namesAfter(folder.changes);
    const found = readdirSync(path).toSorted();
    if (found.join("\n") !== [...names.keys()].toSorted().join("\n")) {
      throw new Error(`the trace does not explain what is in ${path}: ${found.join(" ")}`);
    }
    for (const [name, node] of names) {
      const at = join(path, name);
      if (node.kind === "folder") this.#compare(node, at);
      else if (Buffer.compare(readFileSync(at), bytesAfter(node.changes)) !== 0) {
        throw new Error(`the trace does not explain the bytes of ${at}`);
      }
    }
  }
}
