// SPDX-License-Identifier: Apache-2.0
/** Membership records and proofs of equivocation as foreign bytes. */
import {
  actSigningInput,
  decodeSignedRecord,
  encodeCbor,
  encodeHeader,
  encodeSignedRecord,
  headerSigningInput,
} from "@ctxmesh/codec";
import type { Header } from "@ctxmesh/codec";
import {
  addActs,
  encodeInvite,
  encodeSpaceFile,
  issueInvite,
  parseInvite,
  parseSpaceFile,
} from "@ctxmesh/membership";
import { hlcFromMs, parseDeviceKey, parseIncarnationId, toHex } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";
import { verifyProof } from "@ctxmesh/replica";
import { START_MS } from "../../test/attacks/support/forge.ts";
import { grantOf, policyOf, revocationOf } from "../../test/attacks/support/membership.ts";
import type { Space } from "../../test/attacks/support/membership.ts";
import { mutateBytes } from "./bytes.ts";
import { bytesOf, mutateTree, treeOf } from "./cbor-tree.ts";
import type { Member, Party } from "./devices.ts";
import type { Dice } from "./dice.ts";
import { DOCS, NOW_MS } from "./scene.ts";

/** A format, how to make an example and change it, and how to read it. */
export interface Format {
  readonly name: string;
  readonly make: (dice: Dice, party: Party) => Uint8Array;
  readonly mutate: (dice: Dice, bytes: Uint8Array, party: Party) => Uint8Array;
  /** Throws a `MeshError` for what is refused, and anything else when a rule is broken. */
  readonly read: (bytes: Uint8Array, party: Party) => void;
}

const textBytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);

/** Bytes as they come, or items of their CBOR. */
export const mutateAny = (dice: Dice, bytes: Uint8Array): Uint8Array =>
  dice.chance(40) ? mutateBytes(dice, bytes, bytes) : bytesOf(mutateTree(dice, treeOf(bytes)));

const SPACE_FILE: Format = {
  name: "space file",
  make: (_, { space }) => textBytes(encodeSpaceFile(space)),
  mutate: (dice, bytes) => mutateBytes(dice, bytes, bytes),
  read(bytes, { verifier }) {
    const space = parseSpaceFile(textOf(bytes), verifier);
    const again = parseSpaceFile(encodeSpaceFile(space), verifier);
    if (again.id !== space.id || again.digest !== space.digest) {
      throw new Error("a space file has a second meaning");
    }
  },
};

const CONTACT = { address: "127.0.0.1:4300", device: parseDeviceKey("ab".repeat(32)) };

const INVITE: Format = {
  name: "invite",
  make(dice, { space, creator, inviteSeed, inviteKey }) {
    const notAfter = NOW_MS + dice.roll(1e9);
    const invite = {
      key: inviteKey,
      service: "agent",
      role: "write",
      now: NOW_MS,
      notAfter,
    } as const;
    const invited = issueInvite(space, creator.signer, invite);
    return textBytes(encodeInvite(invited, { seed: inviteSeed, contacts: [CONTACT] }));
  },
  mutate: (dice, bytes) => mutateBytes(dice, bytes, bytes),
  read(bytes, { space, verifier, inviteKey }) {
    const invitation = parseInvite(textOf(bytes), verifier);
    if (invitation.space.id !== space.id || invitation.key !== inviteKey) {
      throw new Error("a changed invite is taken for a good one");
    }
  },
};

/** A valid act by the creator, on top of those of `space`; undefined when none can be made. */
export function validAct(
  dice: Dice,
  space: Space,
  { creator, everybody }: Party,
): Uint8Array | undefined {
  const device = dice.pick(everybody).key;
  const way = dice.roll(4);
  try {
    if (way === 0) {
      const epoch = space.policy.epoch + 1;
      return policyOf(space, creator.signer, epoch)[0];
    }
    if (way === 1) {
      const role = dice.pick(["read", "append", "write", "manage"] as const);
      const right = { device, role, notBefore: START_MS, notAfter: NOW_MS + dice.roll(1e9) };
      return grantOf(space, creator.signer, right)[0];
    }
    return revocationOf(space, creator.signer, device, [], NOW_MS)[0];
  } catch {
    return undefined;
  }
}

/** An act with some items of its body changed, signed by somebody. */
export function mutateAct(
  dice: Dice,
  bytes: Uint8Array,
  { creator, everybody }: Party,
): Uint8Array {
  const { body, signature } = decodeSignedRecord(bytes);
  if (dice.chance(20)) return mutateAny(dice, bytes);
  const changed = bytesOf(mutateTree(dice, treeOf(body)));
  if (dice.chance(10)) return encodeSignedRecord({ body: changed, signature });
  const { signer } = dice.chance(80) ? creator : dice.pick(everybody);
  return encodeSignedRecord({ body: changed, signature: signer.sign(actSigningInput(changed)) });
}

const ACT: Format = {
  name: "act",
  make(dice, party) {
    const act = validAct(dice, party.space, party);
    const [first] = party.space.acts;
    if (first === undefined) throw new Error("a space without acts");
    return act ?? encodeSignedRecord(first.record);
  },
  mutate: mutateAct,
  read(bytes, { space, verifier }) {
    const record = decodeSignedRecord(bytes);
    const once = addActs(space, [record], verifier, NOW_MS);
    const twice = addActs(once.space, [record], verifier, NOW_MS);
    if (twice.space.digest !== once.space.digest) throw new Error("an act counts twice");
    if (once.added.length === 0 && once.space.digest !== space.digest) {
      throw new Error("an act that was not taken changed the space");
    }
  },
};

function signedHeader(party: Party, { key, signer }: Member, hlc: Hlc, seq: number): Uint8Array[] {
  const header: Header = {
    space: party.space.id,
    replica: key,
    incarnation: parseIncarnationId("00".repeat(16)),
    seq,
    prev: null,
    hlc,
    epoch: 0,
    deps: [],
    client: 0,
    sections: DOCS.map((doc) => ({
      doc,
      gen: 0,
      kind: "facts" as const,
      from: 0,
      to: 1,
      bodyHash: new Uint8Array(32),
      bodyLen: 0,
      keyId: null,
    })),
  };
  const bytes = encodeHeader(header);
  return [bytes, signer.sign(headerSigningInput(bytes))];
}

/** A valid proof that a chain of a member forks at its beginning. */
export function validProof(dice: Dice, party: Party): Uint8Array {
  const member = dice.pick(party.everybody);
  const [early, late] = [START_MS, START_MS + 1].map(hlcFromMs);
  if (early === undefined || late === undefined) throw new Error("no clocks");
  return encodeCbor([signedHeader(party, member, early, 1), signedHeader(party, member, late, 1)]);
}

const PROOF: Format = {
  name: "proof",
  make: validProof,
  mutate: mutateAny,
  read(bytes, { space, verifier, everybody }) {
    const fork = verifyProof(bytes, space.id, verifier);
    if (fork.seq !== 1 || !everybody.some(({ key }) => key === fork.replica)) {
      throw new Error(`a changed proof shows another fork: ${toHex(bytes)}`);
    }
  },
};

/** Every format of membership. */
export const RECORD_FORMATS: readonly Format[] = [SPACE_FILE, INVITE, ACT, ACT, PROOF];
