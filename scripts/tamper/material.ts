// SPDX-License-Identifier: Apache-2.0
/** The files that are changed: those of docs/examples/formats, and others whose parts are well signed, too. */
import {
  createFactProver,
  encodeDecisionFile,
  encodeFactProof,
  parseBundle,
  parseDecisionFile,
} from "@ctxmesh/ledger";
import type { Material } from "./run.ts";

/** The material over example files; `read` gets their names. */
export function exampleMaterial(read: (name: string) => Uint8Array): Material {
  const bundle = new Uint8Array(read("bundle.json"));
  const root = new Uint8Array(read("root.json"));
  const decision = new Uint8Array(read("decision.json"));
  const limit = encodeFactProof(
    createFactProver(parseBundle(bundle)).prove("line-2/press-7", "limit"),
  );
  const parts = parseDecisionFile(decision);
  const { batches: _batches, ...plain } = parseBundle(bundle);
  return {
    now: Date.UTC(2026, 1, 1),
    root,
    files: {
      bundle: [bundle, new TextEncoder().encode(JSON.stringify(plain))],
      decision: [decision, encodeDecisionFile({ ...parts, proof: limit })],
      "fact proof": [new Uint8Array(read("temperature.proof")), limit],
      "trust root": [root, bundle],
    },
  };
}
