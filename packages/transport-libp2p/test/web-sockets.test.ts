// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: agents reach each other over WebSockets where nothing else passes, as safely as over TCP.
 * Method: real nodes; between them what stands between agents and the world: a reverse proxy that ends TLS, and a forward
 * proxy that only knows CONNECT.
 */
import { execFile } from "node:child_process";
import { createServer, request } from "node:http";
import type { IncomingMessage, Server } from "node:http";
import { createConnection, createServer as createTcpServer } from "node:net";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test, vi } from "vitest";
import { addressOf, bytes, newDevice, newDevices, startNode, until } from "./mesh.ts";
import type { Node } from "./mesh.ts";

vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

const LISTEN = ["/ip4/127.0.0.1/tcp/0/ws"];
const HYBRID = { protocol: "TLS 1.3", keyExchange: "X25519MLKEM768" };
const portOf = (node: Node): number => Number(/\/tcp\/(\d+)/u.exec(addressOf(node))?.[1]);

async function listening(server: Server): Promise<AsyncDisposable & { readonly port: number }> {
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Joins two sockets until either ends. */
function join(near: Duplex, far: Duplex): void {
  for (const [from, to] of [
    [near, far],
    [far, near],
  ] as const) {
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
    from.pipe(to);
  }
}

test("two agents connect over a WebSocket, and move more than its buffers hold", async () => {
  const [lower, higher] = newDevices();
  await using a = await startNode({ device: lower, listen: LISTEN });
  expect(addressOf(a)).toMatch(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/ws\/p2p\//u);
  await using b = await startNode({ device: higher, listen: [], peers: [addressOf(a)] });
  await until("a channel", () => a.open.size === 1 && b.open.size === 1);
  expect(a.transport.peers()[0]?.security).toEqual(HYBRID);
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    for (let i = 0; i < 16; i++) await from.channels[0]?.send(new Uint8Array(1 << 20));
    await from.channels[0]?.send(bytes("the end"));
    await until("all of it", () => to.received.length === 17);
    expect(to.received.at(-1)).toBe("the end");
  }
});

test("an address of it is handed on, and found by who knows neither", async () => {
  await using a = await startNode({ device: newDevice(), listen: LISTEN });
  await using b = await startNode({ device: newDevice(), listen: LISTEN, peers: [addressOf(a)] });
  await until("the first two", () => b.transport.peers().length === 1);
  await using c = await startNode({ device: newDevice(), listen: [], peers: [addressOf(b)] });
  await until("all three", () => c.transport.peers().length === 2);
  expect(c.transport.peers().every(({ address }) => address.includes("/ws/"))).toBe(true);
});

test("a reverse proxy that passes requests on is no hindrance", async () => {
  const [lower, higher] = newDevices();
  await using a = await startNode({ device: lower, listen: LISTEN });
  const requests: (string | undefined)[] = [];
  await using proxy = await listening(reverseProxy(portOf(a), requests));
  const peers = [`/dns4/localhost/tcp/${String(proxy.port)}/ws`];
  await using b = await startNode({ device: higher, listen: [], peers });
  await until("a channel", () => a.open.size === 1 && b.open.size === 1);
  expect(requests).toEqual(["websocket"]);
  expect(b.transport.peers()[0]?.security).toEqual(HYBRID);
});

/** What stands before a service: forwards the upgrade of a request, with headers of its own. */
function reverseProxy(port: number, requests: (string | undefined)[]): Server {
  const server = createServer();
  server.on("upgrade", (incoming: IncomingMessage, near: Duplex, head: Buffer) => {
    requests.push(incoming.headers.upgrade);
    const headers = { ...incoming.headers, "x-forwarded-for": "192.0.2.1" };
    const forwarded = request({ port, host: "127.0.0.1", path: incoming.url, headers });
    forwarded.on("upgrade", (response, far, rest) => {
      const lines = [`HTTP/1.1 101 ${response.statusMessage ?? ""}`];
      for (const [name, value] of Object.entries(response.headers)) {
        lines.push(`${name}: ${String(value)}`);
      }
      near.write(`${lines.join("\r\n")}\r\n\r\n`);
      near.write(rest);
      far.write(head);
      join(near, far);
    });
    forwarded.on("error", () => near.destroy());
    forwarded.end();
  });
  return server;
}

test.each(["tls/ws", "wss"])("an address with /%s is dialled with TLS", async (form) => {
  const first: Buffer[] = [];
  const server = createTcpServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (data) => {
      first.push(data);
      socket.destroy();
    });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  {
    const peers = [`/dns4/localhost/tcp/${String(port)}/${form}`];
    await using _ = await startNode({ device: newDevice(), listen: [], peers });
    await until("a dial", () => first.length > 0);
  }
  await new Promise((resolve) => server.close(resolve));
  // A handshake record (RFC 8446, 5.1) that names the host.
  expect(first[0]?.[0]).toBe(22);
  expect(first[0]?.includes("localhost")).toBe(true);
});

test("a forward proxy that only knows CONNECT is one that the environment names", async () => {
  const [lower, higher] = newDevices();
  await using a = await startNode({ device: lower, listen: LISTEN });
  const asked: (string | undefined)[] = [];
  const server = createServer();
  server.on("connect", ({ url }: IncomingMessage, near: Duplex, head: Buffer) => {
    asked.push(url);
    const far = createConnection({ port: portOf(a), host: "127.0.0.1" });
    near.write("HTTP/1.1 200 OK\r\n\r\n");
    far.write(head);
    join(near, far);
  });
  await using proxy = await listening(server);
  const program = fileURLToPath(new URL("fixtures/dial-and-greet.ts", import.meta.url));
  // A name that nobody but the proxy can resolve.
  const address = addressOf(a).replace(/^\/ip4\/127\.0\.0\.1/u, "/dns4/agent.invalid");
  const seed = Buffer.from(higher.seed).toString("hex");
  const env = {
    ...process.env,
    NODE_USE_ENV_PROXY: "1",
    HTTP_PROXY: `http://127.0.0.1:${String(proxy.port)}`,
  };
  const args = ["--conditions=@ctxmesh/source", program, seed, address];
  const running = promisify(execFile)(process.execPath, args, { timeout: 30_000, env });
  await until("the greeting", () => a.received.length === 1);
  await a.channels[0]?.close("greeted");
  await running;
  expect(a.received).toEqual(["hello through the proxy"]);
  expect(asked[0]).toMatch(/^agent\.invalid:\d+$/u);
});

test("a listener that somebody connects to and says nothing closes all the same", async () => {
  const node = await startNode({ device: newDevice(), listen: LISTEN });
  const silent = createConnection({ port: portOf(node), host: "127.0.0.1" });
  silent.on("error", () => undefined);
  await new Promise((resolve) => silent.once("connect", resolve));
  const closed = new Promise((resolve) => silent.once("close", resolve));
  await node.transport.stop();
  await closed;
  expect(node.transport.addresses()).toEqual([]);
});
