// SPDX-License-Identifier: Apache-2.0
import type { MessageStream, StreamMuxer } from "@libp2p/interface";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { KeepAlive } from "../src/keep-alive.ts";
import type { Node } from "./mesh.ts";
import { addressOf, bytes, newDevices, recordingLogger, startNode, until } from "./mesh.ts";
import { startProxy } from "./proxy.ts";

const portOf = (node: Node): number => Number(/\/tcp\/(\d+)/u.exec(addressOf(node))?.[1]);

describe("a peer that falls silent", () => {
  test("is let go, and connected again when the path is back", { timeout: 60_000 }, async () => {
    const [lower, higher] = newDevices();
    await using a = await startNode({ device: lower, listen: ["/ip4/127.0.0.1/tcp/0"] });
    await using proxy = await startProxy(portOf(a));
    await using b = await startNode({ device: higher, listen: [], peers: [proxy.address] });
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    proxy.silent = true;
    void b.channels[0]?.send(bytes("into the void")).catch(() => undefined);
    await until("both ends to notice", () => a.open.size === 0 && b.open.size === 0);
    expect(a.received).toEqual([]);
    proxy.silent = false;
    await until("a channel", () => a.open.size === 1 && b.open.size === 1);
    await b.channels.at(-1)?.send(bytes("and back"));
    await until("the message", () => a.received.includes("and back"));
  });
});

describe("the watch", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A connection that nobody answers on unless told to. */
  class Line extends EventTarget {
    pings = 0;
    aborted = false;
    readonly watch = new KeepAlive(recordingLogger());

    constructor() {
      super();
      const muxer = {
        ping: async () => {
          this.pings += 1;
        },
      };
      this.watch.watch(muxer as unknown as StreamMuxer, this as unknown as MessageStream);
    }

    send(message: Uint8Array): boolean {
      return message.length > 0;
    }

    abort(): void {
      this.aborted = true;
      this.dispatchEvent(new Event("close"));
    }

    hear(): void {
      this.dispatchEvent(new Event("message"));
    }

    /** Passes whole seconds, with a look in each. */
    pass(seconds: number): void {
      for (let i = 0; i < seconds && !this.aborted; i++) {
        vi.advanceTimersByTime(1_000);
        this.watch.tick();
      }
    }
  }

  test("asks a silent connection after 20 s, and gives it up 4 s later", () => {
    const line = new Line();
    line.pass(19);
    expect(line.pings).toBe(0);
    line.pass(1);
    expect(line.pings).toBe(1);
    line.pass(3);
    expect(line.aborted).toBe(false);
    line.pass(1);
    expect([line.aborted, line.pings]).toEqual([true, 1]);
  });

  test("asks after 2 s where something was sent and nothing came back", () => {
    const line = new Line();
    line.send(new Uint8Array(100));
    line.pass(2);
    expect(line.pings).toBe(1);
    line.pass(5);
    expect(line.aborted).toBe(true);
  });

  test("never asks a connection that is heard of, however much is sent over it", () => {
    const line = new Line();
    for (let i = 0; i < 1_000; i++) {
      line.send(new Uint8Array(1_000));
      line.hear();
      line.pass(1);
    }
    expect([line.pings, line.aborted]).toEqual([0, false]);
  });

  test("asks an idle one that answers every 20 s, and no more often", () => {
    const line = new Line();
    for (let minute = 0; minute < 60; minute++) {
      for (let i = 0; i < 60; i++) {
        const { pings } = line;
        line.pass(1);
        if (line.pings > pings) line.hear();
      }
    }
    expect(line.pings).toBe(180);
  });

  test("waits for what was sent to arrive over a slow link, up to a minute", () => {
    const line = new Line();
    line.send(new Uint8Array(500_000));
    line.pass(36);
    expect(line.aborted).toBe(false);
    line.pass(4);
    expect(line.aborted).toBe(true);
    const endless = new Line();
    endless.send(new Uint8Array(50_000_000));
    endless.pass(61);
    expect(endless.aborted).toBe(false);
    endless.pass(2);
    expect(endless.aborted).toBe(true);
  });

  test("holds nothing against a peer that could not be heard because we were not looking", () => {
    const line = new Line();
    line.pass(9);
    vi.advanceTimersByTime(600_000);
    line.watch.tick();
    expect(line.aborted).toBe(false);
    line.hear();
    line.pass(5);
    expect([line.aborted, line.pings]).toEqual([false, 1]);
  });

  test("asks at once when the links have changed, and forgets what is closed", () => {
    const line = new Line();
    line.watch.probe();
    line.watch.probe();
    expect(line.pings).toBe(1);
    line.pass(4);
    expect(line.aborted).toBe(true);
    line.watch.probe();
    expect(line.pings).toBe(1);
  });
});
