// SPDX-License-Identifier: Apache-2.0
/**
 * A space as this replica knows it: the verified genesis and grants.
 *
 * The space file carries them as text: `{"format":"ctxmesh-space/v1","genesis":<base64>,"grants":[<base64>...]}`
 * and, when there is one, `"policy":<base64>`; each is a signed record of `@ctxmesh/codec`. In this version
 * only the creator issues grants and policies.
 */
import {
  ROLES,
  decodeGenesis,
  decodeGrant,
  decodeSignedRecord,
  encodeGenesis,
  encodeGrant,
  encodeSignedRecord,
  fromBase64,
  genesisSigningInput,
  grantSigningInput,
  toBase64,
} from "@ctxmesh/codec";
import type { Genesis, Grant, Role, Service, SignedRecord } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { DEFAULT_POLICY } from "@ctxmesh/facts";
import type { Policy } from "@ctxmesh/facts";
import { LIMITS, MeshError, fromHex, parseDeviceKey, parseSpaceId, toHex } from "@ctxmesh/model";
import type {
  DeviceKey,
  DeviceSigner,
  RandomSource,
  SignatureVerifier,
  SpaceId,
} from "@ctxmesh/model";
import { decodePolicy, encodePolicy, policySigningInput } from "./policy-record.ts";

const FORMAT = "ctxmesh-space/v1";
const DAY_MS = 86_400_000;
/** Grants live this long unless said otherwise. */
export const DEFAULT_GRANT_MS: number = 30 * DAY_MS;

/** A verified space. */
export interface Space {
  readonly id: SpaceId;
  readonly genesis: Genesis;
  /** The newest grant of each device. */
  readonly grants: ReadonlyMap<DeviceKey, Grant>;
  /** Which resolver picks the visible value of which keys. */
  readonly policy: Policy;
  /** The records as signed, for the space file. */
  readonly records: {
    readonly genesis: SignedRecord;
    readonly grants: readonly SignedRecord[];
    readonly policy?: SignedRecord;
  };
}

/** Founds a space; the creator is the only issuer of grants. */
export function createSpace(options: {
  readonly name: string;
  readonly creator: DeviceSigner;
  /** Unix milliseconds. */
  readonly now: number;
  readonly random: RandomSource;
}): Space {
  const genesis: Genesis = {
    name: options.name,
    creator: parseDeviceKey(toHex(options.creator.publicKey)),
    createdAt: options.now,
    nonce: options.random.bytes(16),
  };
  const body = encodeGenesis(genesis);
  decodeGenesis(body);
  const signature = options.creator.sign(genesisSigningInput(body));
  return {
    id: parseSpaceId(toHex(sha256(body))),
    genesis,
    grants: new Map(),
    policy: DEFAULT_POLICY,
    records: { genesis: { body, signature }, grants: [] },
  };
}

/**
 * The space with one more grant, signed by its creator. Throws `POLICY_REFUSED` for anybody else, and
 * `FORMAT_INVALID` for times that are not whole numbers.
 */
export function issueGrant(
  space: Space,
  issuer: DeviceSigner,
  grant: {
    readonly device: DeviceKey;
    readonly service: Service;
    readonly role: Role;
    /** Unix milliseconds. */
    readonly notBefore: number;
    /** Default: {@link DEFAULT_GRANT_MS} after `notBefore`. */
    readonly notAfter?: number;
  },
): Space {
  const full: Grant = {
    ...grant,
    space: space.id,
    index: space.records.grants.length + 1,
    notAfter: grant.notAfter ?? grant.notBefore + DEFAULT_GRANT_MS,
    issuer: parseDeviceKey(toHex(issuer.publicKey)),
  };
  if (full.issuer !== space.genesis.creator) {
    throw new MeshError("POLICY_REFUSED", "only the space's creator can issue grants");
  }
  const body = encodeGrant(full);
  decodeGrant(body);
  const record = { body, signature: issuer.sign(grantSigningInput(body)) };
  return {
    ...space,
    grants: new Map(space.grants).set(full.device, full),
    records: { ...space.records, grants: [...space.records.grants, record] },
  };
}

/** The space with another policy, signed by its creator. Throws `POLICY_REFUSED` for anybody else or an epoch that does not rise. */
export function setPolicy(space: Space, issuer: DeviceSigner, policy: Policy): Space {
  if (toHex(issuer.publicKey) !== space.genesis.creator) {
    throw new MeshError("POLICY_REFUSED", "only the space's creator can set its policy");
  }
  if (policy.epoch <= space.policy.epoch) {
    throw new MeshError(
      "POLICY_REFUSED",
      `policy epoch ${String(policy.epoch)} is not above the present ${String(space.policy.epoch)}`,
      { field: "epoch" },
    );
  }
  const body = encodePolicy(space.id, policy);
  const record = { body, signature: issuer.sign(policySigningInput(body)) };
  return {
    ...space,
    policy: decodePolicy(body, space.id),
    records: { ...space.records, policy: record },
  };
}

const recordText = (record: SignedRecord): string => toBase64(encodeSignedRecord(record));

/** The text of a space file, with a final newline. */
export function encodeSpaceFile(space: Space): string {
  return `${JSON.stringify(
    {
      format: FORMAT,
      genesis: recordText(space.records.genesis),
      grants: space.records.grants.map(recordText),
      ...(space.records.policy === undefined ? {} : { policy: recordText(space.records.policy) }),
    },
    undefined,
    2,
  )}\n`;
}

const refuse = (problem: string, cause?: unknown): never => {
  throw new MeshError("FORMAT_INVALID", `space file: ${problem}`, {
    field: "space",
    remedy: "fetch it again from whoever runs the space",
    cause,
  });
};

interface SpaceFile {
  readonly genesis: string;
  readonly grants: readonly string[];
  readonly policy: string | undefined;
}

function parseEnvelope(text: string): SpaceFile {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    return refuse("is not JSON", error);
  }
  if (typeof file !== "object" || file === null) return refuse("is not an object");
  const { format, genesis, grants, policy, ...rest } = file as Readonly<Record<string, unknown>>;
  if (Object.keys(rest).length > 0) {
    return refuse("must have exactly: format, genesis, grants, and policy where there is one");
  }
  if (format !== FORMAT) return refuse(`format is not ${FORMAT}`);
  if (typeof genesis !== "string") return refuse("genesis is not text");
  if (!Array.isArray(grants) || !grants.every((grant) => typeof grant === "string")) {
    return refuse("grants is not an array of text");
  }
  if (policy !== undefined && typeof policy !== "string") return refuse("policy is not text");
  return { genesis, grants, policy };
}

/**
 * Parses an untrusted space file and verifies every signature in it. Throws `LIMIT_EXCEEDED`,
 * `FORMAT_INVALID`, `SIGNATURE_INVALID`, `INPUT_INVALID` for a policy that can't be used, or `POLICY_REFUSED`
 * for a grant or policy of another space or issuer.
 */
export function parseSpaceFile(text: string, verifier: SignatureVerifier): Space {
  if (text.length > LIMITS.smallFileBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `space file has ${String(text.length)} characters, the limit is ${String(LIMITS.smallFileBytes)}`,
      { field: "space" },
    );
  }
  const file = parseEnvelope(text);
  const record = decodeSignedRecord(fromBase64(file.genesis));
  const genesis = decodeGenesis(record.body);
  const creator = fromHex(genesis.creator);
  if (!verifier.verify(creator, genesisSigningInput(record.body), record.signature)) {
    throw new MeshError("SIGNATURE_INVALID", "space file: the genesis signature does not verify");
  }
  const id = parseSpaceId(toHex(sha256(record.body)));
  const records = file.grants.map((grant) => decodeSignedRecord(fromBase64(grant)));
  const grants = new Map<DeviceKey, Grant>();
  for (const { body, signature } of records) {
    const grant = decodeGrant(body);
    if (grant.space !== id || grant.issuer !== genesis.creator) {
      throw new MeshError("POLICY_REFUSED", "space file: a grant is for another space or issuer");
    }
    if (!verifier.verify(creator, grantSigningInput(body), signature)) {
      throw new MeshError("SIGNATURE_INVALID", "space file: a grant's signature does not verify");
    }
    const earlier = grants.get(grant.device);
    if (earlier === undefined || earlier.index < grant.index) grants.set(grant.device, grant);
  }
  const space: Space = {
    id,
    genesis,
    grants,
    policy: DEFAULT_POLICY,
    records: { genesis: record, grants: records },
  };
  return file.policy === undefined ? space : withPolicy(space, file.policy, verifier);
}

function withPolicy(space: Space, text: string, verifier: SignatureVerifier): Space {
  const policy = decodeSignedRecord(fromBase64(text));
  const input = policySigningInput(policy.body);
  if (!verifier.verify(fromHex(space.genesis.creator), input, policy.signature)) {
    throw new MeshError("SIGNATURE_INVALID", "space file: the policy's signature does not verify");
  }
  return {
    ...space,
    policy: decodePolicy(policy.body, space.id),
    records: { ...space.records, policy },
  };
}

/** Whether a grant allows what `needed` allows. */
export const allows = (grant: Grant, needed: Role): boolean =>
  ROLES.indexOf(grant.role) >= ROLES.indexOf(needed);
