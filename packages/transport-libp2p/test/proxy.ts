// SPDX-License-Identifier: Apache-2.0
/** Somebody between two nodes, who sees all bytes, may change them, and may let none through. */
import { createConnection, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

type Change = (bytes: Buffer) => Buffer;

/** A TCP proxy on loopback. */
export interface Proxy extends AsyncDisposable {
  readonly address: string;
  /** What the dialled end has sent, over all connections. */
  readonly answered: Buffer[];
  /** Bytes that passed, both ways. */
  readonly passed: () => number;
  /** Changes what the dialling end sends. */
  change: Change | undefined;
  /** Whether bytes are lost without a word. */
  silent: boolean;
}

/** Starts a proxy before a loopback port. */
export async function startProxy(port: number): Promise<Proxy> {
  const sockets = new Set<Socket>();
  let passed = 0;
  const pass = (to: Socket, bytes: Buffer): void => {
    if (proxy.silent) return;
    passed += bytes.length;
    to.write(bytes);
  };
  const server = createServer((near) => {
    const far = createConnection({ port, host: "127.0.0.1" });
    near.on("data", (bytes) => {
      pass(far, proxy.change?.(bytes) ?? bytes);
    });
    far.on("data", (bytes) => {
      proxy.answered.push(bytes);
      pass(near, bytes);
    });
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        sockets.delete(socket);
        if (!proxy.silent) other.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const proxy: Proxy = {
    address: `/ip4/127.0.0.1/tcp/${String((server.address() as AddressInfo).port)}`,
    answered: [],
    passed: () => passed,
    change: undefined,
    silent: false,
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return proxy;
}
