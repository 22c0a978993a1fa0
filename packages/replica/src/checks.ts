// SPDX-License-Identifier: Apache-2.0
/**
 * The checks that stand between foreign bytes and this replica's state, cheapest first. Each either
 * passes or ends with an outcome of the closed union in `@ctxmesh/model`. Nothing here changes state.
 *
 * Whether a batch is accepted depends only on the batch, its causal past, and the space's records, never
 * on this replica's size or luck; else replicas with the same frontier could differ.
 */
import { decodeBatch, unpackedBytes } from "@ctxmesh/codec";
import type { Batch, Header, Role, Section } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { allows, roleAt } from "@ctxmesh/membership";
import { LIMITS, hlcToMs, toHex, toMeshError } from "@ctxmesh/model";
import type {
  DeviceKey,
  DocumentName,
  HeaderHash,
  Hlc,
  Hold,
  IncarnationId,
  Refusal,
  SignatureVerifier,
} from "@ctxmesh/model";
import { encodeProof, hashOfHeader, isSigned } from "./evidence.ts";
import type { SignedHeader } from "./evidence.ts";
import type { Missing } from "./hold.ts";
import type { Head } from "./layout.ts";
import { openParts } from "./parts.ts";
import type { OpenRich, Part } from "./parts.ts";
import type { Records, Standing } from "./records.ts";
import type { VoidReason } from "./state.ts";
import type { Trim } from "./trim.ts";
import type { Chain } from "./void-content.ts";

/** A batch that parsed; its id is computed once. */
export interface ParsedBatch extends Batch {
  readonly bytes: Uint8Array;
  readonly hash: HeaderHash;
  /** Whoever handed it in; never stored. */
  readonly source?: BatchSource;
}

/** Whoever hands batches in, and answers for the work that they make. */
export interface BatchSource {
  /**
   * `bytes`: what bodies, which are about to be opened, unpack to at most. `items`: what was in them, in facts; 8 tags or
   * basis ids count as one, and so do 8 bytes of a rich update.
   */
  charge(opened: { readonly bytes: number; readonly items: number }): void;
}

/** A batch that passed every check, with its content. */
export interface CheckedBatch extends ParsedBatch {
  /** One per section, in order. */
  readonly parts: readonly Part[];
  /** The bytes as they came, when bodies were taken out that are not wanted here. */
  readonly received?: Uint8Array;
}

/** What the checks may look at. */
export interface CheckContext {
  readonly records: Records;
  /** What a header is worth in its chain. */
  standing(header: Header, hash: HeaderHash): Standing;
  /** This replica's own device: what it wrote past its grant waits elsewhere, not here. */
  readonly self: DeviceKey;
  readonly verifier: SignatureVerifier;
  /** The local wall clock, Unix milliseconds. */
  readonly nowMs: number;
  /** The head of what counts of a chain. */
  head(replica: DeviceKey, incarnation: IncarnationId): Head | undefined;
  /** The header that is stored at a chain position, whether it counts or not. */
  hashAt(
    replica: DeviceKey,
    incarnation: IncarnationId,
    seq: number,
  ): Promise<HeaderHash | undefined>;
  /** The highest seq of a chain that was pruned, as was all before it; 0 when nothing of it was. */
  prunedSeq(replica: DeviceKey, incarnation: IncarnationId): number;
  /** The header at a chain position that is here alone, since it is void. */
  voidHeaderAt(chain: Chain, seq: number): HeaderHash | undefined;
  /** A stored header with its signature; none of a pruned batch. */
  stored(hash: HeaderHash): Promise<SignedHeader | undefined>;
  /** Whether a batch is applied, or will be earlier in the same group. */
  has(hash: HeaderHash): Promise<boolean>;
  /**
   * What a batch with this dependency has to wait for: undefined when it is applied, or void with all that is
   * behind it known; else the hash that is missing, or `later` when something that is known has to come first.
   */
  waitFor(hash: HeaderHash): Promise<HeaderHash | "later" | undefined>;
  /** Whether the batch waits in the hold. */
  isHeld(hash: HeaderHash): boolean;
  /** About the encoded size of a document. */
  bytesOf(doc: DocumentName): number;
  readonly openRich: OpenRich;
  /** Whether the body of a section may be missing here: it is not wanted, or what is in it has expired for everybody. */
  mayOmit(header: Header, section: Section): boolean;
  /** Takes out what is not wanted. */
  readonly trim: Pick<Trim, "keep">;
}

/** The result of the checks. */
export type CheckResult =
  | { readonly kind: "accept"; readonly batch: CheckedBatch }
  | { readonly kind: "duplicate" }
  | {
      readonly kind: "hold";
      readonly reason: Hold;
      readonly batch: ParsedBatch;
      readonly missing: Missing;
    }
  | {
      readonly kind: "refused";
      readonly reason: Refusal;
      readonly detail: string;
      /** Of a fork of the batch's chain, when it shows one. */
      readonly proof?: Uint8Array;
      /**
       * When its header counts, and only its content speaks against it: what it is as a batch that does not count. Whoever has
       * to know that it never will needs all of it.
       */
      readonly kept?: { readonly batch: CheckedBatch; readonly reason: VoidReason };
    };

const refused = (reason: Refusal, detail: string, proof?: Uint8Array): CheckResult => ({
  kind: "refused",
  reason,
  detail,
  ...(proof === undefined ? {} : { proof }),
});

/** Stages 1 and 2: size and shape. Keeps a copy of `bytes`, whose buffer may be the transport's to reuse. */
export function parseBatch(
  bytes: Uint8Array,
  source?: BatchSource,
): ParsedBatch | (CheckResult & { kind: "refused" }) {
  if (bytes.length > LIMITS.batchBytes) {
    return {
      kind: "refused",
      reason: "frame-size",
      detail: `${String(bytes.length)} bytes, the limit is ${String(LIMITS.batchBytes)}`,
    };
  }
  try {
    const own = new Uint8Array(bytes);
    const batch = decodeBatch(own);
    const hash = hashOfHeader(batch.headerBytes);
    return { ...batch, bytes: own, hash, ...(source === undefined ? {} : { source }) };
  } catch (error) {
    return { kind: "refused", reason: "shape", detail: toMeshError(error).message };
  }
}

/** One batch on its way through the stages, with what they have found out. */
interface Examination {
  readonly batch: ParsedBatch;
  readonly context: CheckContext;
  /** Signature and body hashes were verified before the batch was held. */
  readonly verified: boolean;
  readonly head: Head | undefined;
  readonly standing: Standing;
}

/** One check: an outcome that ends the examination, or undefined to go on. */
type Stage = (
  examination: Examination,
) => CheckResult | undefined | Promise<CheckResult | undefined>;

/** It is for this space. */
const checkSpace: Stage = ({ batch, context }) =>
  batch.header.space === context.records.space.id
    ? undefined
    : refused("space", "the batch is for another space");

const refuseSignature = (): CheckResult =>
  refused("signature", "the signature is not the replica's");

/** The chain's owner signed both headers; the later one has to be verified still. */
async function refuseFork(
  { batch, context, verified }: Examination,
  otherHash: HeaderHash | undefined,
  detail: string,
): Promise<CheckResult> {
  if (!verified && !isSigned(batch, context.verifier)) return refuseSignature();
  const other = otherHash === undefined ? undefined : await context.stored(otherHash);
  return refused("equivocation", detail, other && encodeProof(other, batch));
}

/** It is neither stored nor held already, and no other header stands at its position of the chain. */
const checkKnown: Stage = async (examination) => {
  const { batch, context } = examination;
  const { replica, incarnation, seq } = batch.header;
  if (context.isHeld(batch.hash)) return { kind: "duplicate" };
  const isPruned = seq <= context.prunedSeq(replica, incarnation);
  const stored = await context.hashAt(replica, incarnation, seq);
  const other = stored ?? (isPruned ? undefined : context.voidHeaderAt(batch.header, seq));
  const isHeader = stored === undefined && other === batch.hash;
  if (isHeader || (other === undefined && !isPruned)) return undefined;
  // Of what is pruned the hash alone is known.
  if (other === batch.hash || (isPruned && (await context.has(batch.hash))))
    return { kind: "duplicate" };
  return seq > context.records.limitOf(replica, incarnation)
    ? undefined
    : refuseFork(examination, other, `another header stands at seq ${String(seq)} of this chain`);
};

/** The device may write here, and nothing speaks against this part of its chain. */
const checkStanding: Stage = ({ standing }) => {
  switch (standing.kind) {
    case "counts":
    case "later":
      return undefined;
    case "stranger":
      return refused("grant", "the device has no grant to write in this space");
    case "void":
      switch (standing.reason) {
        case "revoked":
          return refused("revoked", "the device was revoked, and this batch is not let stand");
        case "equivocation":
          return refused("equivocation", "the chain is proven to fork at or below this position");
        case "grant":
          return refused("grant", "whoever granted this device its right had been removed");
        case "behind":
          return refused("grant", "something before it in its chain does not count");
      }
  }
};

/**
 * The batch continues its chain. A gap is not an error, it is held for, unless the header that `prev`
 * names is here already: then it would wait for ever.
 */
const checkChain: Stage = async (examination) => {
  const { batch, context, head } = examination;
  const { seq, prev, hlc } = batch.header;
  if (seq !== (head?.seq ?? 0) + 1) {
    // One that is stored and waits is not the head.
    const isHere = prev !== null && (await context.has(prev));
    return isHere && (await context.waitFor(prev)) === undefined
      ? refused("chain", "prev names a header that is not the one before it")
      : undefined;
  }
  if (prev !== (head?.hash ?? null)) {
    const detail = `prev does not name the header at seq ${String(seq - 1)}`;
    return head === undefined
      ? refused("chain", detail)
      : refuseFork(examination, head.hash, detail);
  }
  if (head !== undefined && hlc <= head.hlc) {
    return refused("chain", "the clock does not rise along the chain");
  }
  return undefined;
};

/** The device signed the header. */
const checkSignature: Stage = ({ batch, context, verified }) =>
  verified || isSigned(batch, context.verifier) ? undefined : refuseSignature();

/**
 * The bodies are the ones that were signed. From here on a batch may be held: nothing unsigned is, so
 * that the hold can't be filled in somebody else's name; and no body but the signed one, so that a held
 * batch can't keep the true one out as its duplicate. One that is left out must not be wanted here, nor be more than a batch can carry.
 */
const checkBodyHashes: Stage = ({ batch: { header, headerBytes, bodies }, context, verified }) => {
  if (verified) return undefined;
  const whole = header.sections.reduce((sum, { bodyLen }) => sum + bodyLen, headerBytes.length);
  if (whole > LIMITS.batchBytes) return refused("body", "with all of its bodies it is too long");
  for (const [i, section] of header.sections.entries()) {
    const body = bodies[i] ?? null;
    if (body === null) {
      if (context.mayOmit(header, section)) continue;
      return refused("omitted", "a body that is wanted here is left out");
    }
    const matches =
      body.length === section.bodyLen && toHex(sha256(body)) === toHex(section.bodyHash);
    if (!matches) return refused("body", "hash or length differs");
  }
  return undefined;
};

/** A grant covers the batch's time, its clock is not ahead of ours, and we know the policy that its writer knew. */
const checkTime: Stage = ({ batch, context, standing }) => {
  const wait = (reason: Hold): CheckResult => ({ kind: "hold", reason, batch, missing: undefined });
  if (standing.kind === "later" && batch.header.replica !== context.self) {
    return wait("grant-time");
  }
  if (hlcToMs(batch.header.hlc) > context.nowMs + LIMITS.clockAheadMs) return wait("clock-ahead");
  return batch.header.epoch > context.records.space.knownEpoch ? wait("epoch") : undefined;
};

/** Predecessor and dependencies are here. */
const checkPast: Stage = async ({ batch, context, head }) => {
  const { seq, prev, deps } = batch.header;
  const wait = (missing?: HeaderHash): CheckResult => ({
    kind: "hold",
    reason: "missing",
    batch,
    missing,
  });
  if (prev !== null && seq !== (head?.seq ?? 0) + 1) {
    return wait((await context.has(prev)) ? undefined : prev);
  }
  for (const dep of deps) {
    const missing = await context.waitFor(dep);
    if (missing !== undefined) return wait(missing === "later" ? undefined : missing);
  }
  return undefined;
};

/** No document grows past what an honest writer could make of it. */
const checkQuota: Stage = ({ batch, context }) => {
  const over = batch.header.sections.some(
    ({ doc, bodyLen }) => context.bytesOf(doc) + bodyLen > LIMITS.documentHoldBytes,
  );
  return over ? { kind: "hold", reason: "quota", batch, missing: undefined } : undefined;
};

/** Who may carry what Yjs clients make. */
export const CARRYING = { role: "write", service: "hub" } as const;

/** The role that a part needs beyond `append`: retracting what others stated, or deleting what they wrote. */
function roleFor(part: Part): Role | undefined {
  switch (part.kind) {
    case "facts":
      return part.frame.hasRulings ? "manage" : undefined;
    case "rich":
      return part.update.deletesOthers ? "write" : undefined;
    case "void":
    case "omitted":
    case "closed":
      return undefined;
  }
}

/**
 * The first role that a batch needs and its device did not have then; undefined when it had all. Only hubs carry what Yjs clients make: they know who
 * these are, and who carries under an id that is another's makes all that was written under it void.
 */
export function lackedRole(
  { header }: Pick<Batch, "header">,
  parts: readonly Part[],
  { space }: Records,
): Role | undefined {
  const carries = header.sections.some(({ alias }) => alias !== undefined);
  const role = roleAt(
    space,
    header.replica,
    hlcToMs(header.hlc),
    carries ? CARRYING.service : undefined,
  );
  return [carries ? CARRYING.role : undefined, ...parts.map(roleFor)].find(
    (needed) => needed !== undefined && (role === undefined || !allows(role, needed)),
  );
}

/** The bodies open, hold only what they may, and the device's role allows every part. */
function checkContent({ batch, context, head, standing }: Examination): CheckResult {
  const after = head?.hlc ?? (0 as Hlc);
  const opened = openParts(batch.header, batch.bodies, after, context.openRich);
  switch (opened.kind) {
    case "refused":
      return { ...opened, kept: { batch: { ...batch, parts: [] }, reason: "content" } };
    case "missing":
      return { kind: "hold", reason: "missing", batch, missing: opened.operation };
    case "parts": {
      const { parts } = opened;
      const lacked =
        standing.kind === "later" ? undefined : lackedRole(batch, parts, context.records);
      return lacked === undefined
        ? { kind: "accept", batch: context.trim.keep({ ...batch, parts }) }
        : {
            kind: "refused",
            reason: "grant",
            detail: `a part of the batch needs the role ${lacked}`,
            kept: { batch: { ...batch, parts: [] }, reason: "grant" },
          };
    }
  }
}

/** The stages after size and shape, in order; {@link checkContent} comes last. */
const STAGES: readonly Stage[] = [
  checkSpace,
  checkKnown,
  checkStanding,
  checkChain,
  checkSignature,
  checkBodyHashes,
  checkTime,
  checkPast,
  checkQuota,
];

/** What the bodies of a batch unpack to at most, in bytes, told without unpacking them. */
export const unpackedOf = ({ bodies }: Pick<Batch, "bodies">): number => {
  const bytes = bodies.reduce((sum, body) => sum + (body === null ? 0 : unpackedBytes(body)), 0);
  // One that would be more is refused on the way.
  return Math.min(bytes, LIMITS.bodyBytes);
};

/** Runs the stages. `verified` skips the signature and the body hashes of a batch that passed them before it was held. */
export async function checkBatch(
  batch: ParsedBatch,
  context: CheckContext,
  verified = false,
): Promise<CheckResult> {
  const { header, hash } = batch;
  const head = context.head(header.replica, header.incarnation);
  const standing = context.standing(header, hash);
  const examination: Examination = { batch, context, verified, head, standing };
  for (const stage of STAGES) {
    const pending = stage(examination);
    const result = pending instanceof Promise ? await pending : pending;
    if (result !== undefined) return result;
  }
  return checkContent(examination);
}
