// SPDX-License-Identifier: Apache-2.0
import { existsSync } from "node:fs";
import { MeshError } from "@ctxmesh/model";
import { connect } from "@ctxmesh/sdk";
import type { ContextClient } from "@ctxmesh/sdk";

/** Which daemon a command talks to unless told otherwise. */
export type DefaultNode = "agent" | "hub";

const DEFAULT_SOCKETS: Readonly<Record<DefaultNode, string>> = {
  agent: "agent-1/agent.sock",
  hub: "hub/hub.sock",
};

/**
 * The socket to use: `--socket`, else the variable CTXMESH_SOCKET, else the first agent (the hub
 * for seals) of the folder that `ctxmesh init` made, when that is the current one. Throws `USAGE`.
 */
export function findSocket(option: string | undefined, node: DefaultNode): string {
  const named = option ?? process.env["CTXMESH_SOCKET"];
  if (named !== undefined && named !== "") return named;
  const found = DEFAULT_SOCKETS[node];
  if (existsSync(found)) return found;
  if (existsSync("space.json")) {
    throw new MeshError("UNREACHABLE", `no daemon serves ${found}`, {
      remedy: `start it: ctxmesh ${node} ${node === "hub" ? "hub.yaml" : "agent-1.yaml"}`,
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
  const client = connect({ socketPath: findSocket(option, node) });
  try {
    return await use(client);
  } finally {
    client.close();
  }
}
