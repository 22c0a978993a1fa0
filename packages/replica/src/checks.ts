// SPDX-License-Identifier: Apache-2.0
/**
 * The checks that stand between foreign bytes and this replica's state, cheapest first. Each either
 * passes or ends with an outcome of the closed union in `@ctxmesh/model`. Nothing here changes state.
 *
 * Whether a batch is accepted depends only on the batch, its causal past and the space's grants, never
 * on this replica's size or luck; else replicas with the same frontier could differ.
 */
import { decodeBatch, headerSigningInput } from "@ctxmesh/codec";
import type { Batch, Role } from "@ctxmesh/codec";
import { sha256 } from "@ctxmesh/crypto";
import { LIMITS, fromHex, hlcToMs, parseHeaderHash, toHex, toMeshError } from "@ctxmesh/model";
import type {
  DeviceKey,
  HeaderHash,
  Hlc,
  Hold,
  IncarnationId,
  Refusal,
  SignatureVerifier,
} from "@ctxmesh/model";
import type { Head } from "./layout.ts";
import { openParts } from "./parts.ts";
import type { CheckRich, Part } from "./parts.ts";
import { allows } from "./space.ts";
import type { Space } from "./space.ts";

/** A batch that parsed; its id is computed once. */
export interface ParsedBatch extends Batch {
  readonly bytes: Uint8Array;
  readonly hash: HeaderHash;
  /** Whoever handed it in; opaque, and never stored. */
  readonly source?: object;
}

/** A batch that passed every check, with its content. */
export interface CheckedBatch extends ParsedBatch {
  /** One per section, in order. */
  readonly parts: readonly Part[];
}

/** What the checks may look at. */
export interface CheckContext {
  readonly space: Space;
  readonly verifier: SignatureVerifier;
  /** The local wall clock, Unix milliseconds. */
  readonly nowMs: number;
  head(replica: DeviceKey, incarnation: IncarnationId): Head | undefined;
  /** Whether a header is applied (or will be, earlier in the same group). */
  has(hash: HeaderHash): Promise<boolean>;
  /** The applied header at a chain position at or below its head. */
  hashAt(
    replica: DeviceKey,
    incarnation: IncarnationId,
    seq: number,
  ): Promise<HeaderHash | undefined>;
  /** Whether the batch waits in the hold. */
  isHeld(hash: HeaderHash): boolean;
  readonly checkRich: CheckRich;
}

/** The result of the checks. */
export type CheckResult =
  | { readonly kind: "accept"; readonly batch: CheckedBatch }
  | { readonly kind: "duplicate" }
  | {
      readonly kind: "hold";
      readonly reason: Hold;
      readonly batch: ParsedBatch;
      /** The hash it waits for; undefined when it waits for time or a grant. */
      readonly missing: HeaderHash | undefined;
    }
  | { readonly kind: "refused"; readonly reason: Refusal; readonly detail: string };

const refused = (reason: Refusal, detail: string): CheckResult => ({
  kind: "refused",
  reason,
  detail,
});

/** Stages 1 and 2: size and shape. Keeps a copy of `bytes`, whose buffer may be the transport's to reuse. */
export function parseBatch(
  bytes: Uint8Array,
  source?: object,
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
    const hash = parseHeaderHash(toHex(sha256(batch.headerBytes)));
    return { ...batch, bytes: own, hash, ...(source === undefined ? {} : { source }) };
  } catch (error) {
    return { kind: "refused", reason: "shape", detail: toMeshError(error).message };
  }
}

/** Already applied or held, or another header at the same position of the chain. */
async function checkKnown(
  { header, hash }: ParsedBatch,
  context: CheckContext,
): Promise<CheckResult | undefined> {
  if (context.isHeld(hash)) return { kind: "duplicate" };
  const head = context.head(header.replica, header.incarnation);
  if (head === undefined || header.seq > head.seq) return undefined;
  const known =
    header.seq === head.seq
      ? head.hash
      : await context.hashAt(header.replica, header.incarnation, header.seq);
  return known === hash
    ? { kind: "duplicate" }
    : refused("equivocation", `another header stands at seq ${String(header.seq)} of this chain`);
}

/** The role that a part needs beyond `append`: retracting what others stated, or deleting what they wrote. */
function roleFor(part: Part): Role | undefined {
  if (part.kind === "rich") return part.update.deletesOthers ? "write" : undefined;
  return part.frame.records.some(({ retract }) => retract !== undefined) ? "manage" : undefined;
}

/** The device's role allows every part. */
function checkRoles(
  { header }: ParsedBatch,
  parts: readonly Part[],
  { space }: CheckContext,
): CheckResult | undefined {
  const grant = space.grants.get(header.replica);
  for (const needed of parts.map(roleFor)) {
    if (needed !== undefined && (grant === undefined || !allows(grant, needed))) {
      return refused("grant", `a part of the batch needs the role ${needed}`);
    }
  }
  return undefined;
}

/** The device may write here, at the batch's time. */
function checkGrant(batch: ParsedBatch, context: CheckContext): CheckResult | undefined {
  const grant = context.space.grants.get(batch.header.replica);
  if (grant === undefined) return refused("grant", "the device has no grant in this space");
  if (!allows(grant, "append")) return refused("grant", `the device's role is ${grant.role}`);
  const writtenMs = hlcToMs(batch.header.hlc);
  if (writtenMs < grant.notBefore || writtenMs > grant.notAfter) {
    return { kind: "hold", reason: "grant-time", batch, missing: undefined };
  }
  return undefined;
}

/**
 * The batch continues its chain. A gap is not an error, it is held for, unless the header that `prev`
 * names is here already: then it would wait for ever.
 */
async function checkChain(
  { header }: ParsedBatch,
  head: Head | undefined,
  context: CheckContext,
): Promise<CheckResult | undefined> {
  if (header.seq !== (head?.seq ?? 0) + 1) {
    return header.prev !== null && (await context.has(header.prev))
      ? refused("chain", "prev names a header that is not the one before it")
      : undefined;
  }
  if (header.prev !== (head?.hash ?? null)) {
    return refused("chain", `prev does not name the header at seq ${String(header.seq - 1)}`);
  }
  if (head !== undefined && header.hlc <= head.hlc) {
    return refused("chain", "the clock does not rise along the chain");
  }
  return undefined;
}

/** The first of predecessor and dependencies that is not applied. */
async function findMissing(
  { header }: ParsedBatch,
  head: Head | undefined,
  context: CheckContext,
): Promise<HeaderHash | undefined> {
  if (header.prev !== null && header.seq !== (head?.seq ?? 0) + 1) return header.prev;
  for (const dep of header.deps) {
    if (!(await context.has(dep))) return dep;
  }
  return undefined;
}

/** The bodies are the ones that were signed. */
function checkBodyHashes({ header, bodies }: ParsedBatch): CheckResult | undefined {
  for (const [i, section] of header.sections.entries()) {
    const body = bodies[i] ?? new Uint8Array();
    const matches =
      body.length === section.bodyLen && toHex(sha256(body)) === toHex(section.bodyHash);
    if (!matches) return refused("body", "hash or length differs");
  }
  return undefined;
}

/**
 * All stages after parsing, in order. `signed` skips the signature and the body hashes of a batch
 * that passed them before it was held.
 */
export async function checkBatch(
  batch: ParsedBatch,
  context: CheckContext,
  signed = false,
): Promise<CheckResult> {
  const { header } = batch;
  if (header.space !== context.space.id) return refused("space", "the batch is for another space");
  const known = await checkKnown(batch, context);
  if (known !== undefined) return known;
  const grant = checkGrant(batch, context);
  if (grant?.kind === "refused") return grant;
  const head = context.head(header.replica, header.incarnation);
  const chain = await checkChain(batch, head, context);
  if (chain !== undefined) return chain;
  const input = headerSigningInput(batch.headerBytes);
  if (!signed && !context.verifier.verify(fromHex(header.replica), input, batch.signature)) {
    return refused("signature", "the signature is not the replica's");
  }
  // Nothing unsigned is ever held, so that the hold can't be filled in somebody else's name; and no
  // body but the signed one, so that a held batch can't keep the true one out as its duplicate.
  const bodies = signed ? undefined : checkBodyHashes(batch);
  if (bodies !== undefined) return bodies;
  if (grant !== undefined) return grant;
  if (hlcToMs(header.hlc) > context.nowMs + LIMITS.clockAheadMs) {
    return { kind: "hold", reason: "clock-ahead", batch, missing: undefined };
  }
  const missing = await findMissing(batch, head, context);
  if (missing !== undefined) return { kind: "hold", reason: "missing", batch, missing };
  const after = head?.hlc ?? (0 as Hlc);
  const opened = openParts(header, batch.bodies, after, context.checkRich);
  switch (opened.kind) {
    case "refused":
      return opened;
    case "missing":
      return { kind: "hold", reason: "missing", batch, missing: undefined };
    case "parts": {
      const { parts } = opened;
      const roles = checkRoles(batch, parts, context);
      if (roles !== undefined) return roles;
      return { kind: "accept", batch: { ...batch, parts } };
    }
  }
}
