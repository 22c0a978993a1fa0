// SPDX-License-Identifier: Apache-2.0
/**
 * The space file: a space with all its acts as text,
 * `{"format": "ctxmesh-space/v2", "genesis": <base64>, "acts": [<base64> ...]}`, each a signed record of
 * `@ctxmesh/codec`, the acts with parents before children.
 */
import { decodeSignedRecord, encodeSignedRecord, fromBase64, toBase64 } from "@ctxmesh/codec";
import type { SignedRecord } from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { SignatureVerifier } from "@ctxmesh/model";
import { addActs } from "./add-acts.ts";
import { openSpace } from "./genesis.ts";
import type { Space } from "./space.ts";

const FORMAT = "ctxmesh-space/v2";
const OLD_FORMAT = "ctxmesh-space/v1";

const recordText = (record: SignedRecord): string => toBase64(encodeSignedRecord(record));
const parseRecord = (text: string): SignedRecord => decodeSignedRecord(fromBase64(text));

/** The text of a space file, with a final newline. */
export function encodeSpaceFile(space: Space): string {
  const genesis = recordText(space.genesisRecord);
  const acts = space.acts.map(({ record }) => recordText(record));
  return `${JSON.stringify({ format: FORMAT, genesis, acts }, undefined, 2)}\n`;
}

const refuse = (
  problem: string,
  remedy = "fetch it again from whoever runs the space",
  cause?: unknown,
): never => {
  throw new MeshError("FORMAT_INVALID", `space file: ${problem}`, {
    field: "space",
    remedy,
    cause,
  });
};

interface SpaceFile {
  readonly genesis: string;
  readonly acts: readonly string[];
}

function parseEnvelope(text: string): SpaceFile {
  let file: unknown;
  try {
    file = JSON.parse(text);
  } catch (error) {
    return refuse("is not JSON", undefined, error);
  }
  if (typeof file !== "object" || file === null) return refuse("is not an object");
  const { format, genesis, acts, ...rest } = file as Readonly<Record<string, unknown>>;
  if (format === OLD_FORMAT) {
    return refuse(
      `its format is ${OLD_FORMAT}, which had no membership acts`,
      "make the space anew with ctxmesh init, and join its devices to it",
    );
  }
  if (format !== FORMAT) return refuse(`format is not ${FORMAT}`);
  if (Object.keys(rest).length > 0) return refuse("must have exactly: format, genesis, acts");
  if (typeof genesis !== "string") return refuse("genesis is not text");
  if (!Array.isArray(acts) || !acts.every((act) => typeof act === "string")) {
    return refuse("acts is not an array of text");
  }
  return { genesis, acts };
}

/**
 * Parses an untrusted space file and verifies every signature in it. `nowMs` (Unix milliseconds) refuses acts
 * from the future; without it there is no such check. Throws `LIMIT_EXCEEDED`, `FORMAT_INVALID`,
 * `SIGNATURE_INVALID`, `INPUT_INVALID` for a policy that can't be used, or `POLICY_REFUSED` for an act of
 * another space or without authority.
 */
export function parseSpaceFile(
  text: string,
  verifier: SignatureVerifier,
  nowMs: number = Number.POSITIVE_INFINITY,
): Space {
  if (text.length > LIMITS.spaceFileBytes) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `space file has ${String(text.length)} characters, the limit is ${String(LIMITS.spaceFileBytes)}`,
      { field: "space" },
    );
  }
  const file = parseEnvelope(text);
  if (file.acts.length > LIMITS.acts) {
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `space file has ${String(file.acts.length)} acts, the limit is ${String(LIMITS.acts)}`,
      { field: "space" },
    );
  }
  const founded = openSpace(parseRecord(file.genesis), verifier);
  const records = file.acts.map(parseRecord);
  const { space, refused, waiting } = addActs(founded, records, verifier, nowMs);
  const [refusal] = refused;
  if (refusal !== undefined) {
    throw new MeshError(refusal.code, `space file: ${refusal.message}`, { field: "space" });
  }
  if (waiting > 0) {
    return refuse(`${String(waiting)} of its acts lack one that they name, or are from the future`);
  }
  return space;
}
