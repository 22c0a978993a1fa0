// SPDX-License-Identifier: Apache-2.0
/** Goal: what two programs say to each other over real sockets arrives as the link lets it. */
import { once } from "node:events";
import { createConnection, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { createLinkEmulator, waitFor } from "@ctxmesh/testing";
import type { LinkEmulator, LinkOptions } from "@ctxmesh/testing";
import { expect, test } from "vitest";

const until = (what: string, condition: () => boolean): Promise<void> =>
  waitFor(condition, { timeoutMs: 10_000, what });

/** What one program has got and seen. */
interface Program {
  readonly socket: Socket;
  readonly received: Buffer;
  bytes: number;
  ended: boolean;
  closed: boolean;
  errors: string[];
}

function watch(socket: Socket): Program {
  const chunks: Buffer[] = [];
  const program: Program = {
    socket,
    get received() {
      return Buffer.concat(chunks);
    },
    bytes: 0,
    ended: false,
    closed: false,
    errors: [],
  };
  socket.on("data", (bytes) => {
    chunks.push(bytes);
    program.bytes += bytes.length;
  });
  socket.on("end", () => (program.ended = true));
  socket.on("close", () => (program.closed = true));
  socket.on("error", (error) => {
    program.errors.push("code" in error ? String(error.code) : error.message);
  });
  return program;
}

interface Scene extends AsyncDisposable {
  readonly link: LinkEmulator;
  /** Programs that were dialled, in order. */
  readonly dialled: Program[];
  dial(): Promise<Program>;
  /** A connection with both of its ends. */
  pair(): Promise<{ near: Program; far: Program }>;
}

/** A link with a server behind it, `from` the end at which its clients are. */
async function scene(options: LinkOptions = {}, from: "a" | "b" = "a"): Promise<Scene> {
  const dialled: Program[] = [];
  const sockets = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    dialled.push(watch(socket));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const link = createLinkEmulator(options);
  const { port } = server.address() as AddressInfo;
  const address = await link.forward({ target: { host: "127.0.0.1", port }, from });
  const dial = async (): Promise<Program> => {
    const socket = createConnection({ ...address, allowHalfOpen: true });
    sockets.add(socket);
    const program = watch(socket);
    await once(socket, "connect");
    return program;
  };
  return {
    link,
    dialled,
    dial,
    pair: async () => {
      const count = dialled.length;
      const near = await dial();
      await until("the dial to travel", () => dialled.length > count);
      return { near, far: dialled.at(-1) as Program };
    },
    [Symbol.asyncDispose]: async () => {
      await link[Symbol.asyncDispose]();
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

test.each(["a", "b"] as const)(
  "bytes, in both directions, and their ends pass and are counted: dialled from %s",
  async (from) => {
    const passed = { ab: 0, ba: 0 };
    await using s = await scene(
      {
        settings: { delayMs: 5, jitterMs: 5, loss: 0.01, bytesPerSecond: 10_000_000 },
        onData: (way, bytes) => {
          passed[way] += bytes.length;
        },
      },
      from,
    );
    const { near, far } = await s.pair();
    const [there, back] = [Buffer.alloc(300_000, "there"), Buffer.alloc(100_000, "back")];
    near.socket.end(there);
    far.socket.write(back);
    await until("the data", () => far.ended && near.bytes === back.length);
    expect(far.received.equals(there)).toBe(true);
    expect(near.received.equals(back)).toBe(true);
    expect(near.ended).toBe(false);
    far.socket.end();
    await until("the end", () => near.closed && far.closed && s.link.connections === 0);
    expect([near.errors, far.errors]).toEqual([[], []]);
    const [up, down] = from === "a" ? (["ab", "ba"] as const) : (["ba", "ab"] as const);
    const counters = s.link.counters();
    expect([counters[up].bytes, counters[down].bytes]).toEqual([there.length, back.length]);
    expect([passed[up], passed[down]]).toEqual([there.length, back.length]);
  },
);

test("a blocked direction passes nothing, not even an end, until it is not blocked; the other one goes on", async () => {
  await using s = await scene();
  const { near, far } = await s.pair();
  s.link.set({ blocked: true }, "ab");
  near.socket.write("lost for now");
  far.socket.write("heard");
  await until("the other direction", () => near.received.toString() === "heard");
  near.socket.end();
  far.socket.write(" again");
  await until("the other direction", () => near.received.toString() === "heard again");
  expect([far.bytes, far.ended]).toEqual([0, false]);
  s.link.set({ blocked: false });
  await until("what was held up", () => far.ended);
  expect(far.received.toString()).toBe("lost for now");
});

test("a dial into a blocked link reaches nobody until it is not blocked", async () => {
  await using s = await scene({ settings: { blocked: true } });
  const near = await s.dial();
  near.socket.write("hello");
  const other = await s.dial();
  other.socket.destroy();
  expect(s.dialled).toHaveLength(0);
  s.link.set({ blocked: false });
  await until("the dial", () => s.dialled.some(({ received }) => received.toString() === "hello"));
});

test("an end that goes away behind a block is found gone by who sends to it after that", async () => {
  await using s = await scene();
  const { near, far } = await s.pair();
  s.link.set({ blocked: true });
  near.socket.resetAndDestroy();
  far.socket.write("anybody there?");
  await until("its end", () => near.closed);
  expect(far.closed).toBe(false);
  s.link.set({ blocked: false });
  await until("the news", () => far.closed);
  expect(far.errors).toEqual(["ECONNRESET"]);
});

test("a cut breaks every connection at both ends, and new ones come up", async () => {
  await using s = await scene({ settings: { delayMs: 1 } });
  const pairs = [await s.pair(), await s.pair()];
  s.link.cut();
  expect(s.link.connections).toBe(0);
  await until("the ends", () => pairs.every(({ near, far }) => near.closed && far.closed));
  expect(pairs.flatMap(({ near, far }) => [...near.errors, ...far.errors])).toEqual(
    Array.from({ length: 4 }, () => "ECONNRESET"),
  );
  const { near, far } = await s.pair();
  near.socket.write("again");
  await until("the data", () => far.received.toString() === "again");
});

test("a cut at the moment of an end leaves no socket open", async () => {
  await using s = await scene();
  const { near, far } = await s.pair();
  s.link.set({ blocked: true });
  near.socket.end();
  await until("its end to be on the way", () => near.socket.writableFinished);
  far.socket.write("held up");
  s.link.set({ blocked: false });
  s.link.cut();
  await until("nobody to be there", () => {
    if (!far.closed) far.socket.write("anybody?");
    return far.closed;
  });
  expect(far.errors).toHaveLength(1);
});

test("a dial that nobody takes is broken off", async () => {
  await using link = createLinkEmulator();
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const near = await link.forward({ target: { host: "127.0.0.1", port } });
  const program = watch(createConnection(near));
  await until("the end", () => program.closed);
  expect(program.errors).toEqual(["ECONNRESET"]);
});

test("a sender is stopped by a full queue, and by a reader that does not read", async () => {
  await using s = await scene({ settings: { blocked: true, queueBytes: 65_536 } });
  const near = await s.dial();
  const big = Buffer.alloc(32 * 1_048_576);
  near.socket.write(big);
  s.link.set({ blocked: false });
  await until("the dial", () => s.dialled.length === 1);
  const [far] = s.dialled as [Program];
  s.link.set({ blocked: true }, "ab");
  // The kernel's buffers and one read of the emulator's are all that goes beyond the queue.
  await until("the queue", () => s.link.counters().ab.queuedBytes >= 65_536);
  expect(s.link.counters().ab.queuedBytes).toBeLessThanOrEqual(65_536 * 2);
  expect(near.socket.writableLength).toBeGreaterThan(0);

  far.socket.pause();
  s.link.set({ blocked: false });
  let before = -1;
  await until("the flow to stop", () => {
    const { bytes } = s.link.counters().ab;
    const stopped = bytes === before && bytes > 0;
    before = bytes;
    return stopped;
  });
  expect(before).toBeLessThan(big.length / 2);
  far.socket.resume();
  near.socket.end();
  await until("the rest", () => far.ended);
  expect(far.bytes).toBe(big.length);
});

test("a link that comes and goes lets all pass in the end", async () => {
  await using s = await scene();
  const { near, far } = await s.pair();
  s.link.flap({ upMs: 5, downMs: 5 });
  let sent = 0;
  await until("some turns", () => {
    near.socket.write(String(sent % 10));
    sent += 1;
    return sent >= 40;
  });
  s.link.flap();
  await until("all of it", () => far.bytes === sent);
  expect(far.received.toString()).toBe(
    Array.from({ length: sent }, (_, i) => String(i % 10)).join(""),
  );
});
