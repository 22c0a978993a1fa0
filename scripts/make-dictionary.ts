// SPDX-License-Identifier: Apache-2.0
/**
 * Writes the dictionary that small bodies are compressed with: `node --conditions=@ctxmesh/source scripts/make-dictionary.ts`,
 * then `npx oxfmt packages/codec/src/dictionary.ts`. It is made of frames of typical facts, what machines and models say, after words that keys
 * and values are made of; what is likeliest stands last, where references to it are shortest. A second run changes nothing.
 *
 * The dictionary is part of the body's format: another one needs another encoding number beside this one.
 */
import { writeFile } from "node:fs/promises";
import { encodeFrame } from "@ctxmesh/facts";
import type { FactFrame } from "@ctxmesh/facts";
import { hlcFromMs } from "@ctxmesh/model";
import type { FactInput, JsonValue } from "@ctxmesh/model";

const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const LINE = 88;

const WORDS =
  `temperature pressure humidity vibration flow level speed torque current voltage power energy frequency position heading battery signal
occupancy utilization capacity latency throughput duration distance weight volume count total rate average deviation anomaly score threshold setpoint target
limit alarm warning error fault state status mode phase step recipe batch order part product operator shift station machine robot camera sensor gateway
device zone room floor building site vehicle driver route stop customer ticket invoice payment inventory shelf price forecast demand summary note decision
verdict reason evidence question answer prompt context embedding label class detection confidence model version instance source location owner`
    .split(/\s+/u)
    .join("/");

const VALUES: readonly JsonValue[] = [
  { alarm: false, message: "", since: "2026-01-02T03:04:05.678Z" },
  { lat: 48.137, lon: 11.575 },
  { count: 12, max: 99.9, mean: 50.1, min: 0.5, p95: 90.2 },
  { label: "person", score: 0.97, x: 0.25, y: 0.5 },
  { confidence: 0.87, reason: "pressure above limit", verdict: "scrap" },
  { mode: "auto", state: "running" },
  { status: "ok", unit: "°C", value: 71.5 },
];

const FLAGS: readonly JsonValue[] = [
  true,
  false,
  null,
  "on",
  "off",
  "open",
  "closed",
  "ok",
  "idle",
  "stopped",
  "running",
];

const HOST = [
  "load_15m",
  "load_5m",
  "load_1m",
  "disk_total_bytes",
  "disk_used_bytes",
  "disk_percent",
  "memory_total_bytes",
  "memory_used_bytes",
  "memory_percent",
  "network_tx_bytes_per_s",
  "network_rx_bytes_per_s",
  "cpu_percent",
];

function frameOf(facts: readonly FactInput[]): FactFrame {
  return {
    from: 0,
    to: facts.length,
    records: facts.map(({ key, value, confidence, source, ttlMs, tags, basis }, i) => ({
      key,
      seq: i + 1,
      hlc: hlcFromMs(START_MS + i),
      valueJson: JSON.stringify(value),
      ...(confidence === undefined ? {} : { confidence }),
      ...(source === undefined ? {} : { source }),
      ...(ttlMs === undefined ? {} : { ttlMs }),
      ...(tags === undefined ? {} : { tags }),
      ...(basis === undefined ? {} : { basis }),
    })),
  };
}

const model = { model: "vision-inspector", version: "2.3.1", instance: "edge-1" };
const FRAMES: readonly (readonly FactInput[])[] = [
  FLAGS.map((value, i) => ({ key: `flag/${String(i)}`, value })),
  VALUES.map((value, i) => ({
    key: `decision/${String(i)}`,
    value,
    confidence: 0.87,
    source: model,
    tags: ["quality", "telemetry"],
    basis: ["line-2/press-7 temperature"],
  })),
  ["pressure", "humidity", "vibration", "temperature"].map((name, i) => ({
    key: `line-1/press-${String(i)}/${name}`,
    value: 71.5 + i,
    confidence: 0.9,
    source: { model: "sensor", version: "1", instance: "thermo-1" },
    ttlMs: 600_000,
  })),
  HOST.map((name, i) => ({
    key: `host/edge-1/${name}`,
    value: 10.5 + i,
    confidence: 1,
    source: { model: "host", version: "1", instance: "edge-1" },
  })),
  ["utilization", "temperature", "temperature"].map((name, i) => ({
    key: `machine_${name}/value`,
    value: 73.967 + i,
    confidence: 0.9,
    source: { model: "csv", version: "1", instance: `machine_${name}` },
  })),
];

const bytes = Buffer.concat([
  Buffer.from(WORDS),
  ...FRAMES.map((facts) => encodeFrame(frameOf(facts))),
]);
const text = bytes.toString("base64");
const lines = Array.from({ length: Math.ceil(text.length / LINE) }, (_, i) =>
  JSON.stringify(text.slice(i * LINE, (i + 1) * LINE)),
);

await writeFile(
  new URL("../packages/codec/src/dictionary.ts", import.meta.url),
  `// SPDX-License-Identifier: Apache-2.0
/** Made by \`scripts/make-dictionary.ts\`; its bytes are part of the format of bodies, see \`body.ts\`. */
import { fromBase64 } from "./text.ts";

/** Dictionary number 1, raw content (RFC 8878, 5): what small bodies of facts are likely to hold. */
export const DICTIONARY: Uint8Array = fromBase64(
  [
${lines.map((line) => `    ${line},`).join("\n")}
  ].join(""),
);
`,
);
