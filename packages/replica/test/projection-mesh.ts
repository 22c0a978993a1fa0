// SPDX-License-Identifier: Apache-2.0
/** Two nodes with projections, and browsers that edit through them, move between them, and are cut off. */
import type { Replica, ReplicaProjections } from "@ctxmesh/replica";
import { createProjections } from "@ctxmesh/replica";
import {
  createMemoryStore,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "@ctxmesh/testing";
import type { VirtualClock } from "@ctxmesh/testing";
import * as Y from "yjs";
import { Browser } from "./browser.ts";
import { DOC, START_MS, applied, open, spaceWith, us, writer } from "./mesh.ts";
import type { Device } from "./mesh.ts";
import { editXml } from "./xml-edits.ts";

const space = spaceWith(
  [
    [us, "write"],
    [writer, "write"],
  ],
  "hub",
);

/** Where tokens of text begin: single characters, each inserted once. */
const TOKENS = 0x4e_00;

/** A node. */
export class Node {
  readonly device: Device;
  readonly clock: VirtualClock;
  #store = createMemoryStore();
  replica!: Replica;
  projections!: ReplicaProjections;
  /** What it wrote, in order, over all lives. */
  readonly sent: Uint8Array[] = [];
  /** How many of the other's it got. */
  received = 0;

  #lives: number;

  constructor(device: Device, clock: VirtualClock, seed: number) {
    this.device = device;
    this.clock = clock;
    this.#lives = seed;
  }

  async start(): Promise<this> {
    this.replica = await open({
      device: this.device,
      space,
      store: this.#store,
      clock: this.clock,
      random: createSeededRandom(this.#lives++),
    });
    const sent = applied(this.replica, "local");
    this.replica.onApplied(() => this.sent.push(...sent.splice(0)));
    this.projections = createProjections(this.replica, {
      clock: this.clock,
      random: createSeededRandom(this.#lives++),
      logger: silentLogger,
    });
    return this;
  }

  async restart(): Promise<void> {
    this.projections.close();
    await this.replica.close();
    this.#store = await this.#store.reopen();
    await this.start();
  }

  /** Gets the next batches of another node. */
  async pull(from: Node, most = Infinity): Promise<void> {
    for (let i = 0; i < most && this.received < from.sent.length; i++) {
      const bytes = from.sent[this.received++];
      if (bytes !== undefined) await this.replica.receive(bytes);
    }
  }
}

/** Numbers that decide what happens. */
export type Pick = (sides: number) => number;

/** Two nodes, three browsers. */
export class ProjectionMesh {
  readonly clock: VirtualClock = createVirtualClock(START_MS);
  readonly nodes: readonly [Node, Node] = [
    new Node(us, this.clock, 1_000),
    new Node(writer, this.clock, 2_000),
  ];
  readonly browsers: readonly Browser[] = [
    new Browser("ann", 2_000_000_003),
    new Browser("bob", 7),
    new Browser("cid", 4_000_000_005),
  ];
  readonly inserted = new Set<string>();
  readonly deleted = new Set<string>();
  readonly #home = new Map<Browser, Node>();
  #tokens = 0;

  async start(): Promise<this> {
    for (const node of this.nodes) await node.start();
    return this;
  }

  #token(): string {
    const token = String.fromCharCode(TOKENS + this.#tokens++);
    this.inserted.add(token);
    return token;
  }

  #editText(browser: Browser, pick: Pick): void {
    const { text } = browser;
    const at = pick(text.length + 1);
    const way = pick(6);
    if (way < 4) {
      let added = this.#token();
      if (way === 0) added += this.#token() + this.#token();
      text.insert(at, added);
    } else if (way < 5 && text.length > at) {
      const length = 1 + pick(Math.min(3, text.length - at));
      for (const token of text.toJSON().slice(at, at + length)) this.deleted.add(token);
      text.delete(at, length);
    } else if (text.length > at) text.format(at, 1, { bold: pick(2) === 0 ? true : null });
  }

  #editTypes({ doc }: Browser, pick: Pick): void {
    const list = doc.getArray<unknown>("list:steps");
    const plan = doc.getMap<unknown>("map:plan");
    const first = list.length > 0 ? list.get(pick(list.length)) : undefined;
    switch (pick(6)) {
      case 0: {
        list.insert(pick(list.length + 1), [pick(100), "x"]);
        break;
      }
      case 1: {
        const at = pick(list.length + 1);
        list.insert(at, [new Y.Map<unknown>()]);
        (list.get(at) as Y.Map<unknown>).set("n", pick(100));
        break;
      }
      case 2: {
        if (list.length > 0) list.delete(pick(list.length), 1);
        break;
      }
      case 3: {
        plan.set(pick(2) === 0 ? "a" : "b", pick(100));
        break;
      }
      case 4: {
        plan.delete(pick(2) === 0 ? "a" : "b");
        break;
      }
      default: {
        if (first instanceof Y.Map) first.set(pick(2) === 0 ? "n" : "m", pick(100));
      }
    }
  }

  #editFacts({ facts }: Browser, pick: Pick): void {
    const key = pick(2) === 0 ? "temp" : "mode";
    if (pick(4) === 0) facts.delete(key);
    else facts.set(key, pick(1_000));
  }

  /** One thing happens. */
  async step(pick: Pick): Promise<void> {
    this.clock.advance(1 + pick(50));
    const browser = this.browsers[pick(3)] as Browser;
    const node = this.nodes[pick(2)] as Node;
    const other = node === this.nodes[0] ? this.nodes[1] : this.nodes[0];
    const way = pick(44);
    if (way >= 40) editXml(browser.doc, pick);
    else if (way < 9) this.#editText(browser, pick);
    else if (way < 12) this.#editTypes(browser, pick);
    else if (way < 15) this.#editFacts(browser, pick);
    else if (way < 20) browser.see(1 + pick(4));
    else if (way < 26) browser.send(1 + pick(3));
    else if (way < 29) await browser.settle();
    else if (way < 32) await node.pull(other, 1 + pick(6));
    else if (way < 34) browser.disconnect();
    else if (way < 37) await this.#connect(browser, node);
    else if (way < 38) await this.#restart(node);
    else if (way < 39) await node.replica.put(DOC, [{ key: "temp", value: pick(1_000) }]);
    else await this.#native(node, pick);
  }

  async #native({ replica }: Node, pick: Pick): Promise<void> {
    await replica.edit(DOC, (roots) => {
      const text = roots.text("notes");
      text.insert(pick(text.length + 1), this.#token());
    });
  }

  async #connect(browser: Browser, node: Node): Promise<void> {
    browser.disconnect();
    await browser.connect(node.projections);
    this.#home.set(browser, node);
  }

  async #restart(node: Node): Promise<void> {
    for (const browser of this.browsers) {
      if (this.#home.get(browser) !== node) continue;
      // What was handed over is written, and nobody hears of it.
      browser.disconnect();
      await browser.settle();
    }
    await node.restart();
  }

  /** Everything is connected and arrives. */
  async settle(): Promise<void> {
    const [one, two] = this.nodes;
    for (let round = 0; round < 100; round++) {
      await one.pull(two);
      await two.pull(one);
      for (const { replica } of this.nodes) replica.retryTimed();
      for (const [i, browser] of this.browsers.entries()) {
        if (!browser.isConnected) await this.#connect(browser, this.nodes[i % 2] as Node);
        browser.see();
        browser.send();
        await browser.settle();
      }
      const isDone =
        this.browsers.every((browser) => browser.isConnected && browser.isQuiet) &&
        one.received === two.sent.length &&
        two.received === one.sent.length;
      if (isDone) return;
    }
    const state = this.browsers.map(({ name, isConnected, isQuiet, errors }) =>
      JSON.stringify({ name, isConnected, isQuiet, last: errors.at(-1)?.message }),
    );
    const held = this.nodes.map(({ replica }) => JSON.stringify(replica.counters()));
    throw new Error(["it never settles", ...state, ...held].join("\n"));
  }

  /** What a node has, in the form of {@link Browser.content}. */
  contentOf({ replica }: Node): unknown {
    const content = replica.content(DOC);
    const value = (type: string, root: string): unknown =>
      content.find((each) => each.type === type && each.root === root)?.value;
    return {
      notes: value("text", "notes") ?? [],
      steps: value("list", "steps") ?? [],
      plan: value("map", "plan") ?? {},
      page: value("xml", "page") ?? [],
      facts: Object.fromEntries(replica.list({ doc: DOC }).map(({ key, value: is }) => [key, is])),
    };
  }
}
