// SPDX-License-Identifier: Apache-2.0
/**
 * A node's state for Prometheus (its text format, version 0.0.4). Sums only: no names of devices, spaces or documents, since whoever
 * may scrape need not know who talks to whom.
 */
import type { LinkClass, LinkReport, ModuleStatus, NodeStatus } from "@ctxmesh/model";

/** The media type of the text. */
export const METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** What is measured. */
export interface NodeMetrics {
  readonly status: NodeStatus;
  readonly links: readonly LinkReport[];
}

/** What is measured of the process. */
export interface ProcessMetrics {
  readonly loopLateMs: number;
  readonly residentBytes: number;
  readonly heapBytes: number;
  /** User and system, in seconds. */
  readonly cpuSeconds: number;
  readonly uptimeSeconds: number;
}

type Sample = readonly [value: number, labels?: Readonly<Record<string, string>>];

const LINK_CLASSES: readonly LinkClass[] = ["control", "high", "normal", "low"];

function family(
  name: string,
  type: "counter" | "gauge",
  help: string,
  ...samples: readonly Sample[]
): string {
  const lines = samples.map(([value, labels = {}]) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
    return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${String(value)}`;
  });
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines, ""].join("\n");
}

const sum = <Item>(items: readonly Item[], of: (item: Item) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

const flag = (value: boolean): number => (value ? 1 : 0);

function batchesOf({ batches }: NodeStatus): string[] {
  const { received, accepted, duplicate, dropped, held, refused } = batches;
  const outcomes: readonly Sample[] = [
    [accepted, { outcome: "accepted" }],
    [duplicate, { outcome: "duplicate" }],
    [dropped, { outcome: "dropped" }],
    ...Object.entries(refused).map(([reason, count]): Sample => [
      count,
      { outcome: "refused", reason },
    ]),
  ];
  return [
    family("ctxmesh_batches_received_total", "counter", "Batches that came from peers.", [
      received,
    ]),
    family("ctxmesh_batches_total", "counter", "What became of them.", ...outcomes),
    family("ctxmesh_batches_held", "gauge", "Batches that wait for others.", [held]),
  ];
}

function linksOf(links: readonly LinkReport[]): string[] {
  const byRole = (["agent", "hub"] as const).map((role): Sample => [
    links.filter((link) => link.role === role).length,
    { role },
  ]);
  const queued = LINK_CLASSES.map((name): Sample => [
    sum(links, ({ traffic }) => traffic.queue[name].bytes),
    { class: name },
  ]);
  return [
    family("ctxmesh_links", "gauge", "Links to peers.", ...byRole),
    family("ctxmesh_links_in_sync", "gauge", "Links whose peer has what is here.", [
      links.filter(({ inSync }) => inSync).length,
    ]),
    family("ctxmesh_links_hybrid", "gauge", "Links with a post-quantum key exchange.", [
      links.filter(({ security }) => security?.keyExchange === "X25519MLKEM768").length,
    ]),
    // Of the links that are open: it goes down when one closes.
    family(
      "ctxmesh_link_bytes",
      "gauge",
      "Bytes that passed over the links that are open.",
      [sum(links, ({ traffic }) => traffic.in.bytes), { direction: "in" }],
      [sum(links, ({ traffic }) => traffic.out.bytes), { direction: "out" }],
    ),
    family("ctxmesh_link_queue_bytes", "gauge", "Bytes that wait to be sent.", ...queued),
  ];
}

function contentOf(status: NodeStatus): string[] {
  const { documents, facts, contested, chains, written, applied, membership } = status;
  return [
    family("ctxmesh_documents", "gauge", "Documents.", [documents]),
    family("ctxmesh_facts", "gauge", "Keys with a visible fact.", [facts]),
    family("ctxmesh_facts_contested", "gauge", "Keys whose writers disagree.", [contested]),
    family("ctxmesh_chains", "gauge", "Chains in the frontier.", [chains]),
    family(
      "ctxmesh_facts_total",
      "counter",
      "Facts since the start.",
      [written, { origin: "local" }],
      [applied, { origin: "remote" }],
    ),
    ...modulesOf(status),
    family("ctxmesh_members", "gauge", "Devices that are not revoked.", [membership.members]),
    family("ctxmesh_forks", "gauge", "Chains of which there is proof that they fork.", [
      membership.forks,
    ]),
  ];
}

/** By module; those of spaces without any are left out. */
function modulesOf({ modules = [] }: NodeStatus): string[] {
  if (modules.length === 0) return [];
  const by = (count: (module: ModuleStatus) => number): [number, { module: string }][] =>
    modules.map((status) => [count(status), { module: status.module }]);
  return [
    family(
      "ctxmesh_module_calls_total",
      "counter",
      "Calls of modules of the space.",
      ...by(({ calls }) => calls),
    ),
    family(
      "ctxmesh_module_failures_total",
      "counter",
      "Calls of modules that were cut off, or found none.",
      ...by(({ failures }) => failures),
    ),
    family(
      "ctxmesh_module_slow_total",
      "counter",
      "Calls of modules that took over a millisecond.",
      ...by(({ slow }) => slow),
    ),
  ];
}

function stateOf({ ready, degraded, scrub, seals, engine }: NodeStatus): string[] {
  return [
    family("ctxmesh_ready", "gauge", "Whether it takes writes and lacks nothing.", [flag(ready)]),
    family("ctxmesh_chains_degraded", "gauge", "Chains that are not as they should be.", [
      degraded.length,
    ]),
    family("ctxmesh_scrub_findings", "gauge", "Damage found in the store.", [
      scrub.findings.length,
    ]),
    ...(seals === undefined
      ? []
      : [family("ctxmesh_seals_total", "counter", "Seals that were made.", [seals])]),
    ...(engine === undefined
      ? []
      : [
          family("ctxmesh_engine_reachable", "gauge", "Whether the shared engine answers.", [
            flag(engine.reachable),
          ]),
          family("ctxmesh_engine_sealing", "gauge", "Whether this hub is the one that seals.", [
            flag(engine.sealingEpoch !== undefined),
          ]),
        ]),
  ];
}

function processOf(metrics: ProcessMetrics): string[] {
  const { loopLateMs, residentBytes, heapBytes, cpuSeconds, uptimeSeconds } = metrics;
  return [
    family("ctxmesh_event_loop_lag_seconds", "gauge", "How late the event loop is.", [
      loopLateMs / 1_000,
    ]),
    family("process_resident_memory_bytes", "gauge", "Resident memory.", [residentBytes]),
    family("ctxmesh_heap_bytes", "gauge", "Heap in use.", [heapBytes]),
    family("process_cpu_seconds_total", "counter", "Processor time.", [cpuSeconds]),
    family("ctxmesh_uptime_seconds", "gauge", "Time since the start.", [uptimeSeconds]),
  ];
}

/** The text; without a node, which is not complete yet, that of the process alone. */
export function metricsText(node: NodeMetrics | undefined, process: ProcessMetrics): string {
  const { status, links } = node ?? {};
  return [
    ...(status === undefined
      ? []
      : [...stateOf(status), ...contentOf(status), ...batchesOf(status)]),
    ...(links === undefined ? [] : linksOf(links)),
    ...processOf(process),
  ].join("");
}
