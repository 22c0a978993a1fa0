// SPDX-License-Identifier: Apache-2.0
/** Agents on a machine of their own each, and real MCP clients of `ctxmesh mcp` and of the reference memory server. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent } from "@ctxmesh/edge-agent";
import type { Agent } from "@ctxmesh/edge-agent";
import { createSpace, issueGrant, setPolicy } from "@ctxmesh/membership";
import type { Space } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { silentLogger, tempDir } from "@ctxmesh/testing";
import { Client } from "@modelcontextprotocol/sdk/client";
// oxlint-disable-next-line import/extensions -- the export paths of the library end in .js
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import type { CallToolResult } from "@modelcontextprotocol/sdk/types.js";

const pathOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const CTXMESH = pathOf("../../cli/bin/ctxmesh.js");
const REFERENCE = pathOf("../../../node_modules/@modelcontextprotocol/server-memory/dist/index.js");

export interface TestAgent {
  readonly agent: Agent;
  readonly socket: string;
}

/** Agents with stores of their own, that reach each other over loopback TCP. */
export class TestMesh {
  readonly space: Space;
  readonly #folder: string;
  readonly #seeds: readonly Uint8Array[];
  readonly #stack: AsyncDisposableStack;

  private constructor(
    space: Space,
    folder: string,
    seeds: readonly Uint8Array[],
    stack: AsyncDisposableStack,
  ) {
    this.space = space;
    this.#folder = folder;
    this.#seeds = seeds;
    this.#stack = stack;
  }

  static async found(
    stack: AsyncDisposableStack,
    agents: number,
    rules: Parameters<typeof setPolicy>[2]["rules"] = [],
  ): Promise<TestMesh> {
    const dir = await tempDir();
    stack.defer(() => dir.remove());
    const seeds = Array.from({ length: agents }, (_, i) => new Uint8Array(32).fill(i + 1));
    const signers = seeds.map((seed) => createDeviceSigner(seed));
    const [creator] = signers;
    if (creator === undefined) throw new Error("no agents");
    const now = systemClock.now();
    let space = createSpace({ name: "plant", creator, now, random: systemRandom });
    for (const { publicKey } of signers) {
      space = issueGrant(space, creator, {
        device: parseDeviceKey(toHex(publicKey)),
        service: "agent",
        role: "write",
        notBefore: now - 1_000,
      });
    }
    if (rules.length > 0) space = setPolicy(space, creator, { epoch: 1, rules });
    return new TestMesh(space, dir.path, seeds, stack);
  }

  socketOf(index: number): string {
    return join(this.#folder, String(index), "s.sock");
  }

  async start(index: number, peers: readonly string[] = []): Promise<TestAgent> {
    const folder = join(this.#folder, String(index));
    await mkdir(folder, { recursive: true });
    const socket = this.socketOf(index);
    const agent = await createAgent(
      {
        version: "0.0.0",
        space: this.space,
        deviceSeed: this.#seeds[index] ?? new Uint8Array(),
        storePath: join(folder, "store"),
        socketPath: socket,
        mesh: { listen: ["/ip4/127.0.0.1/tcp/0"], peers },
        hubs: [],
        sources: [],
      },
      { clock: systemClock, random: systemRandom, logger: silentLogger },
    );
    this.#stack.defer(async () => agent.stop());
    return { agent, socket };
  }
}

/** A client of an MCP server. */
export class McpClient implements AsyncDisposable {
  readonly client: Client;
  /** URIs of the resources that the server said have changed. */
  readonly updated: string[] = [];

  constructor(client: Client) {
    this.client = client;
    client.fallbackNotificationHandler = ({ method, params }) => {
      if (method === "notifications/resources/updated") this.updated.push(String(params?.["uri"]));
      return Promise.resolve();
    };
  }

  static async connect(transport: Transport): Promise<McpClient> {
    const client = new Client({ name: "test-model", version: "1.2.3" });
    const connected = new McpClient(client);
    await client.connect(transport);
    return connected;
  }

  async call(name: string, args?: Readonly<Record<string, unknown>>): Promise<CallToolResult> {
    return (await this.client.callTool({ name, arguments: args && { ...args } })) as CallToolResult;
  }

  /** What a call answers; rejects with what it says is wrong. */
  async ask(
    name: string,
    args?: Readonly<Record<string, unknown>>,
  ): Promise<Record<string, unknown>> {
    const { isError, content, structuredContent = {} } = await this.call(name, args);
    if (isError === true) throw new Error(content[0]?.type === "text" ? content[0].text : "");
    return structuredContent;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client.close();
  }
}

/** What a process gets to know of its surroundings. */
export const environment: Readonly<Record<string, string>> = {
  PATH: process.env["PATH"] ?? "",
  NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] ?? "",
};

/** A client of a `ctxmesh mcp` process of its own. */
export const ours = (socket: string, ...args: readonly string[]): Promise<McpClient> =>
  McpClient.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [CTXMESH, "mcp", "--socket", socket, ...args],
      env: environment,
      stderr: "pipe",
    }),
  );

/** A client of a process of the reference memory server, whose memory is in a file. */
export const reference = (file: string): Promise<McpClient> =>
  McpClient.connect(
    new StdioClientTransport({
      command: process.execPath,
      args: [REFERENCE],
      env: { ...environment, MEMORY_FILE_PATH: file },
      stderr: "pipe",
    }),
  );

/** The arguments that start `ctxmesh mcp` without a client. */
export const command = (socket: string, ...args: readonly string[]): readonly string[] => [
  CTXMESH,
  "mcp",
  "--socket",
  socket,
  ...args,
];
