// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { MeshError } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";

/** Which daemon a command talks to unless told otherwise. */
export type DefaultNode = "agent" | "hub";

/** In folders that `ctxmesh init`, `space create` and `space join` make. */
const DEFAULT_SOCKETS: Readonly<Record<DefaultNode, readonly [string, ...string[]]>> = {
  agent: ["agent-1/agent.sock", "agent.sock"],
  hub: ["hub/hub.sock"],
};

const START: Readonly<Record<DefaultNode, string>> = {
  agent: "ctxmesh agent agent-1.yaml",
  hub: "ctxmesh hub hub.yaml",
};

/**
 * The socket to use: `--socket`, else the variable CTXMESH_SOCKET, else the agent (the hub
 * for seals) of the folder that `ctxmesh init`, `space create` or `space join` made, when that is the current one. Throws `USAGE`.
 */
export function findSocket(option: string | undefined, node: DefaultNode): string {
  const named = option ?? process.env["CTXMESH_SOCKET"];
  if (named !== undefined && named !== "") return named;
  const found = DEFAULT_SOCKETS[node].find((path) => existsSync(path));
  if (found !== undefined) return found;
  if (existsSync("space.json")) {
    const joined = node === "agent" && existsSync("agent.yaml");
    const expected = joined ? "agent.sock" : DEFAULT_SOCKETS[node][0];
    throw new MeshError("UNREACHABLE", `no daemon serves ${expected}`, {
      remedy: `start it: ${joined ? "ctxmesh agent agent.yaml" : START[node]}`,
    });
  }
  throw new MeshError("USAGE", "which daemon?", {
    remedy: "give --socket PATH, set CTXMESH_SOCKET, or run this in a folder made by ctxmesh init",
  });
}

/** Runs `use` with a client of the chosen daemon. */
export async function withClient<Result>(
  option: string | undefined,
  node: DefaultNode,
  use: (client: ContextClient) => Promise<Result>,
): Promise<Result> {
  // Somebody waits: that no daemon runs is to be said at once.
  const client = connect({ socketPath: findSocket(option, node), retries: 0 });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
