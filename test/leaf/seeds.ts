// SPDX-License-Identifier: Apache-2.0
/**
 * Writes the inputs that fuzzing of the leaf begins with (`wasm/leaf/fuzz/fuzz.c`) to a folder:
 * `node --conditions=@ctxmesh/source test/leaf/seeds.ts DIR`.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { encodeBatch, encodeBody, encodeHeader } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { encodeFrame } from "@ctxmesh/facts";
import {
  parseDeviceKey,
  parseDocumentName,
  parseIncarnationId,
  parseSpaceId,
} from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { encodeAnswer, encodeMessage } from "@ctxmesh/sync";
import type { SyncMessage } from "@ctxmesh/sync";

const dir = process.argv[2] ?? "leaf-seeds";
const MEMBER = parseDeviceKey("02".repeat(32));
const INCARNATION = parseIncarnationId("01".repeat(16));
const SPACE = parseSpaceId("5a".repeat(32));
const ZEROS = new Uint8Array(16);
const HASH = "00".repeat(16);

const records = [
  {
    key: "k",
    seq: 1,
    hlc: 4096 as Hlc,
    valueJson: '{"a":[1,-2.5]}',
    confidence: 0.5,
    ttlMs: 1e12,
    tags: ["t"],
  },
  {
    key: "k",
    seq: 2,
    hlc: 4097 as Hlc,
    retract: { writer: MEMBER, upTo: 4096 as Hlc, reason: "wrong" },
  },
];
const body = encodeBody(encodeFrame({ from: 0, to: 2, records }));
const section = {
  doc: parseDocumentName("a/b"),
  gen: 0,
  kind: "facts" as const,
  from: 0,
  to: 2,
  keyId: null,
};
const headerBytes = encodeHeader({
  space: SPACE,
  replica: MEMBER,
  incarnation: INCARNATION,
  seq: 1,
  prev: null,
  hlc: 4097 as Hlc,
  epoch: 0,
  deps: [],
  client: 0,
  sections: [{ ...section, bodyHash: sha256(body), bodyLen: body.length }],
});
const batch = encodeBatch({ headerBytes, signature: new Uint8Array(64), bodies: [body] });
const chain = { replica: MEMBER, incarnation: INCARNATION };
const grants = [{ role: "manage" as const, notBefore: 0, notAfter: 2 ** 48 }];
const messages: readonly SyncMessage[] = [
  { type: "push", batch },
  { type: "have", heads: [{ ...chain, seq: 3, hash: HASH }] },
  {
    type: "ranges",
    round: 1,
    ranges: [
      { upper: "01", mode: "fingerprint", fingerprint: HASH },
      { upper: "02", mode: "equal", fingerprint: HASH },
      { upper: "", mode: "list", heads: [{ ...chain, seq: 2, hash: HASH }] },
    ],
  },
  { type: "digest", digest: ZEROS, records: ZEROS, asks: true },
  {
    type: "answer",
    id: 1,
    answer: encodeAnswer({
      kind: "roster",
      records: ZEROS,
      devices: [{ device: MEMBER, revoked: false, grants }],
      limits: [{ ...chain, seq: 2 }],
    }),
  },
  { type: "batches", batches: [batch] },
  { type: "pull", spans: [{ ...chain, from: 1, to: 2 }] },
  { type: "acts", acts: [], proofs: [], more: false, records: ZEROS },
  { type: "ask", id: 1, question: ZEROS },
];
const framed = (bytes: Uint8Array): Buffer =>
  Buffer.concat([Uint8Array.of(bytes.length >> 8, bytes.length & 255), bytes]);
const u32 = (n: number): Buffer =>
  Buffer.from([n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255]);
const record = Buffer.concat([Uint8Array.of(1), u32(batch.length), batch]);
const lines =
  'put a k {"a":[1,-2.5,null,"\\n"],"b":true}\nget a k\nwatch a k\nput a "k 1" 1\ndigest\nstatus\ndelete a k\n';

mkdirSync(dir, { recursive: true });
const write = (name: string, target: number, ...parts: readonly Uint8Array[]): void =>
  writeFileSync(join(dir, name), Buffer.concat([Uint8Array.of(target), ...parts]));
write("batch", 0, batch);
write("session", 1, ...messages.map((message) => framed(encodeMessage(message))));
for (const [i, message] of messages.entries())
  write(`message-${String(i)}`, 1, framed(encodeMessage(message)));
write("lines", 2, Buffer.from(lines));
write("log", 4, framed(record), framed(Uint8Array.of(5, ...new Uint8Array(24))));
write("frame", 5, encodeFrame({ from: 0, to: 2, records }));
write("json", 5, Buffer.from('{"a":[1,-2.5e+30,null,"\\n\\u0001"],"é":true}'));
