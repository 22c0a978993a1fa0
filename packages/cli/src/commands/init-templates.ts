// SPDX-License-Identifier: Apache-2.0
/** The configurations that `ctxmesh init` writes. */

const multiaddress = (port: number): string => `/ip4/127.0.0.1/tcp/${String(port)}`;

/** How sure each agent is of the key that all of them write, so that they differ. */
const confidenceOf = (agent: number): string => (0.95 - 0.05 * ((agent - 1) % 10)).toFixed(2);

/** `agent-<number>.yaml`; `ports` are the hub's and one per agent. */
export function agentYaml(number: number, ports: readonly number[]): string {
  const id = `agent-${String(number)}`;
  const [hubPort = 0, ...agentPorts] = ports;
  const peers = agentPorts
    .filter((_, index) => index !== number - 1)
    .map((port) => `    - ${multiaddress(port)}\n`)
    .join("");
  return `# yaml-language-server: $schema=./agent.schema.json
# Configuration of ctxmesh agent. Paths are relative to this file.
space: space.json
key: ${id}/device.jwk
store: ${id}/store
socket: ${id}/agent.sock
# The local API on TCP, too, for browsers:
# api:
#   listen: 127.0.0.1:7410
#   tokenFile: ${id}/api.token
#   origins: [http://localhost:5173]
mesh:
  listen:
    - ${multiaddress(agentPorts[number - 1] ?? 0)}
  peers:${peers === "" ? " []\n" : `\n${peers}`}hubs:
  - ws://127.0.0.1:${String(hubPort)}
sources:
  # The state of this machine, every second. "also" writes a key that the other agents write too.
  - type: host
    name: ${id}
    also:
      - key: site/cpu_percent
        confidence: ${confidenceOf(number)}
  # A recording, replayed:
  # - type: csv
  #   path: recording.csv
  #   rate: 10
log:
  level: info
`;
}

/** `hub.yaml`. */
export const hubYaml = (port: number, origin: string): string =>
  `# yaml-language-server: $schema=./hub.schema.json
# Configuration of ctxmesh hub. Paths are relative to this file.
space: space.json
key: hub/device.jwk
store: hub/store
socket: hub/hub.sock
listen:
  host: 127.0.0.1
  port: ${String(port)}
seal:
  key: hub/snapshot.jwk
  log:
    origin: ${origin}
    ed25519Key: hub/log-ed25519.jwk
    mldsa44Key: hub/log-mldsa44.jwk
# Tokens open /yjs to Yjs clients; to try it out without an issuer: ctxmesh hub hub.yaml --dev
# auth:
#   issuer: https://id.example.org/realms/plant
#   audience: https://hub.example.org
#   keyUrl: https://id.example.org/realms/plant/keys
# yjs:
#   origins: [https://editor.example.org]
log:
  level: info
`;

const list = (items: readonly string[], indent: string): string =>
  items.length === 0 ? " []" : items.map((item) => `\n${indent}- ${item}`).join("");

/** The configuration of one agent; `folder` (with its slash, or empty) holds its key, store and socket. */
export function memberYaml(agent: {
  readonly folder: string;
  readonly listen: string;
  readonly peers: readonly string[];
  readonly hubs: readonly string[];
}): string {
  return `# yaml-language-server: $schema=./agent.schema.json
# Configuration of ctxmesh agent. Paths are relative to this file.
space: space.json
key: ${agent.folder}device.jwk
store: ${agent.folder}store
socket: ${agent.folder}agent.sock
mesh:
  listen:
    - ${agent.listen}
  peers:${list(agent.peers, "    ")}
hubs:${list(agent.hubs, "  ")}
sources: []
  # The state of this machine, every second:
  # - type: host
log:
  level: info
`;
}
