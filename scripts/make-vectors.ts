// SPDX-License-Identifier: Apache-2.0
/**
 * Writes the frozen byte vectors of the codec (batches, membership), of the facts frame and of the facts state:
 * `node --conditions=@ctxmesh/source scripts/make-vectors.ts`, then `npx oxfmt`. Everything is derived from fixed seeds, so
 * a second run changes nothing unless a format changed, and then the format's version must change too.
 */
import { mkdir, writeFile } from "node:fs/promises";
import {
  actSigningInput,
  encodeAct,
  encodeBatch,
  encodeBody,
  encodeGenesis,
  encodeHeader,
  encodeSignedRecord,
  genesisSigningInput,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Act, ActBase, Genesis, Header } from "@ctxmesh/codec";
import { createDeviceSigner, sha256 } from "@ctxmesh/crypto";
import { SlotStore, encodeFrame, encodeState } from "@ctxmesh/facts";
import type { ChainFrame, FactFrame } from "@ctxmesh/facts";
import {
  hlcFromMs,
  parseActId,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "@ctxmesh/model";
import type { DeviceKey, Hlc, IncarnationId } from "@ctxmesh/model";

/** A JSON text in which bytes are hex. */
const asJson = (value: unknown): string =>
  `${JSON.stringify(value, (_, member: unknown) => (member instanceof Uint8Array ? toHex(member) : member), 2)}\n`;

const fill = (length: number, byte: number): Uint8Array => new Uint8Array(length).fill(byte);
const START_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
const incarnation = (byte: number): IncarnationId => parseIncarnationId(toHex(fill(16, byte)));

const signer = createDeviceSigner(fill(32, 7));
const device = parseDeviceKey(toHex(signer.publicKey));

const frames: { name: string; frame: FactFrame }[] = [
  {
    name: "one fact",
    frame: {
      from: 0,
      to: 1,
      records: [{ key: "t", seq: 1, hlc: hlcFromMs(START_MS), valueJson: "21.5" }],
    },
  },
  {
    name: "every field, a delete, and gaps in seq",
    frame: {
      from: 300,
      to: 100_000,
      records: [
        {
          key: "line-2/press/vibration",
          seq: 302,
          hlc: (hlcFromMs(START_MS) + 4095) as Hlc,
          valueJson: '{"mm_s":0.1,"text":"Grüße 🦀"}',
          confidence: 0.25,
          source: { model: "m", version: "1.2", instance: "edge-7" },
          ttlMs: 86_400_000,
          tags: ["a", "ß".repeat(64)],
          basis: ["id-1", "id-2", "id-3"],
        },
        {
          key: "k".repeat(512),
          seq: 303,
          hlc: hlcFromMs(START_MS + 10_000),
          source: { model: "m", instance: "i" },
          confidence: 0,
        },
        { key: "last", seq: 99_999, hlc: (Number.MAX_SAFE_INTEGER - 1) as Hlc, valueJson: "null" },
      ],
    },
  },
  {
    name: "what a fact belongs to and whom it is for",
    frame: {
      from: 0,
      to: 2,
      records: [
        {
          key: "t",
          seq: 1,
          hlc: hlcFromMs(START_MS),
          valueJson: "1",
          tags: ["a"],
          correlation: "order 7 ß",
          traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
          targets: ["planner", "vision-2"],
        },
        { key: "u", seq: 2, hlc: hlcFromMs(START_MS + 1), targets: ["planner"] },
      ],
    },
  },
  {
    name: "retractions between statements",
    frame: {
      from: 7,
      to: 10,
      records: [
        { key: "t", seq: 8, hlc: hlcFromMs(START_MS), valueJson: '"poisoned"' },
        {
          key: "t",
          seq: 9,
          hlc: (hlcFromMs(START_MS) + 1) as Hlc,
          retract: { writer: device, upTo: hlcFromMs(START_MS), reason: "Sensor verstimmt 🦀" },
        },
        {
          key: "u",
          seq: 10,
          hlc: (hlcFromMs(START_MS) + 2) as Hlc,
          retract: {
            writer: parseDeviceKey(toHex(fill(32, 0xff))),
            upTo: Number.MAX_SAFE_INTEGER as Hlc,
            reason: "r".repeat(512),
          },
        },
      ],
    },
  },
];

/** Chains of two writers and three incarnations: one with a gap, one that lost a slot to its successor. */
const states: { name: string; frames: readonly ChainFrame[] }[] = [
  { name: "nothing", frames: [] },
  {
    name: "two lives of one writer, a retraction, and another writer's chain with a gap",
    frames: [
      {
        chain: { writer: device, incarnation: incarnation(9) },
        frame: {
          from: 0,
          to: 3,
          records: [
            { key: "a", seq: 1, hlc: hlcFromMs(START_MS), valueJson: "1" },
            { key: "b", seq: 3, hlc: hlcFromMs(START_MS + 1), valueJson: '{"x":[true]}', ttlMs: 5 },
          ],
        },
      },
      {
        chain: { writer: device, incarnation: incarnation(1) },
        frame: { from: 0, to: 1, records: [{ key: "a", seq: 1, hlc: hlcFromMs(START_MS + 2) }] },
      },
      {
        chain: { writer: parseDeviceKey(toHex(fill(32, 3))), incarnation: incarnation(4) },
        frame: {
          from: 10,
          to: 12,
          records: [{ key: "a", seq: 12, hlc: hlcFromMs(START_MS), valueJson: '"x"', tags: ["t"] }],
        },
      },
      {
        chain: { writer: parseDeviceKey(toHex(fill(32, 3))), incarnation: incarnation(4) },
        frame: {
          from: 0,
          to: 4,
          records: [
            {
              key: "a",
              seq: 2,
              hlc: hlcFromMs(START_MS - 9),
              retract: { writer: device, upTo: hlcFromMs(START_MS), reason: "r" },
            },
          ],
        },
      },
    ],
  },
];

function stateOf(chainFrames: readonly ChainFrame[]): Uint8Array {
  const store = new SlotStore();
  for (const { chain, frame } of chainFrames) store.applyFrame(chain, frame);
  return encodeState(store);
}

const deviceAt = (byte: number): DeviceKey => parseDeviceKey(toHex(fill(32, byte)));
const genesis: Genesis = {
  name: "Werk Süd",
  creators: [device, deviceAt(0xff), deviceAt(2)],
  createdAt: START_MS,
  nonce: fill(16, 9),
};
const genesisBytes = encodeGenesis(genesis);
const space = parseSpaceId(toHex(sha256(genesisBytes)));

const actBase: ActBase = { space, author: device, authority: null, parents: [], time: START_MS };
const laterBase: ActBase = {
  ...actBase,
  authority: parseActId(toHex(fill(32, 0xaa))),
  parents: [1, 0x80, 0xfe].map((byte) => parseActId(toHex(fill(32, byte)))),
  time: START_MS + 1,
};
const acts: { name: string; act: Act }[] = [
  {
    name: "a creator's first grant",
    act: {
      ...actBase,
      kind: "grant",
      device,
      index: 1,
      service: "hub",
      role: "append",
      notBefore: START_MS,
      notAfter: START_MS + 30 * 86_400_000,
    },
  },
  {
    name: "a manager's grant, every number at length",
    act: {
      ...laterBase,
      kind: "grant",
      device: deviceAt(3),
      index: Number.MAX_SAFE_INTEGER,
      service: "agent",
      role: "manage",
      notBefore: 0,
      notAfter: Number.MAX_SAFE_INTEGER,
    },
  },
  {
    name: "an invite",
    act: {
      ...laterBase,
      kind: "invite",
      key: deviceAt(4),
      service: "agent",
      role: "write",
      notAfter: START_MS + 7 * 86_400_000,
    },
  },
  {
    name: "a revocation of which nothing stands",
    act: { ...laterBase, kind: "revoke", device: deviceAt(3), heads: [], reason: "" },
  },
  {
    name: "a revocation with two chains",
    act: {
      ...laterBase,
      kind: "revoke",
      device: deviceAt(3),
      heads: [
        { incarnation: incarnation(1), seq: 1, hash: parseHeaderHash(toHex(fill(32, 5))) },
        {
          incarnation: incarnation(0xf0),
          seq: Number.MAX_SAFE_INTEGER,
          hash: parseHeaderHash(toHex(fill(32, 6))),
        },
      ],
      reason: "Gerät verloren 🦀",
    },
  },
  {
    name: "a policy",
    act: {
      ...laterBase,
      kind: "policy",
      epoch: 3,
      rules: '[{"prefix":"","resolver":"latest"},{"prefix":"count/","resolver":"sum"}]',
    },
  },
];

const first = frames[0] ?? { frame: { from: 0, to: 0, records: [] } };
const payload = encodeFrame(first.frame);
const body = encodeBody(payload);
const base: Header = {
  space,
  replica: device,
  incarnation: incarnation(1),
  seq: 1,
  prev: null,
  hlc: hlcFromMs(START_MS),
  epoch: 0,
  deps: [],
  client: 0,
  sections: [
    {
      doc: parseDocumentName("line-2/press-7"),
      gen: 0,
      kind: "facts",
      from: 0,
      to: 1,
      bodyHash: sha256(body),
      bodyLen: body.length,
      keyId: null,
    },
  ],
};
const [section] = base.sections;
const headers: { name: string; header: Header }[] = [
  { name: "first of a chain", header: base },
  {
    name: "every field at length",
    header: {
      ...base,
      seq: Number.MAX_SAFE_INTEGER,
      prev: parseHeaderHash(toHex(fill(32, 2))),
      hlc: Number.MAX_SAFE_INTEGER as Hlc,
      epoch: 65_536,
      deps: [3, 4, 0xff].map((byte) => parseHeaderHash(toHex(fill(32, byte)))),
      client: 2 ** 32 - 1,
      sections: [
        ...base.sections,
        ...(section === undefined
          ? []
          : [{ ...section, doc: parseDocumentName("d".repeat(200)), gen: 24, keyId: fill(16, 5) }]),
      ],
    },
  },
];

const codec = {
  device: { seed: fill(32, 7), publicKey: signer.publicKey },
  headers: headers.map(({ name, header }) => {
    const bytes = encodeHeader(header);
    return { name, header, bytes, id: sha256(bytes) };
  }),
  batches: headers.slice(0, 1).map(({ name, header }) => {
    const headerBytes = encodeHeader(header);
    const signature = signer.sign(headerSigningInput(headerBytes));
    const bodies = [body];
    return { name, signature, bodies, bytes: encodeBatch({ headerBytes, signature, bodies }) };
  }),
  bodies: [
    { name: "as it is", payload, bytes: body },
    // Another zstd may compress otherwise, so this one is only ever unpacked.
    { name: "zstd", payload: fill(1000, 0x61), bytes: encodeBody(fill(1000, 0x61)) },
  ],
};

const membership = {
  device: codec.device,
  genesis: {
    genesis,
    space,
    record: encodeSignedRecord({
      body: genesisBytes,
      signature: signer.sign(genesisSigningInput(genesisBytes)),
    }),
  },
  acts: acts.map(({ name, act }) => {
    const bytes = encodeAct(act);
    const signature = signer.sign(actSigningInput(bytes));
    const record = encodeSignedRecord({ body: bytes, signature });
    return { name, act, bytes, id: sha256(bytes), record };
  }),
};

async function write(folder: string, name: string, value: unknown): Promise<void> {
  const target = new URL(`../packages/${folder}/test/vectors/`, import.meta.url);
  await mkdir(target, { recursive: true });
  await writeFile(new URL(name, target), asJson(value));
}

await write("codec", "batch-v1.json", codec);
await write("codec", "membership-v1.json", membership);
await write(
  "facts",
  "frame-v1.json",
  frames.map(({ name, frame }) => ({ name, frame, bytes: encodeFrame(frame) })),
);
await write(
  "facts",
  "state-v1.json",
  states.map(({ name, frames: applied }) => ({ name, frames: applied, bytes: stateOf(applied) })),
);
