// SPDX-License-Identifier: Apache-2.0
/** Text that names batches, for reads that must see them: what a write gives to its caller, and a read on another node takes. */
import { MeshError } from "./errors.ts";
import { parseDeviceKey, parseIncarnationId } from "./ids.ts";
import type { DeviceKey, IncarnationId } from "./ids.ts";
import { LIMITS } from "./limits.ts";

/** A batch, by its place in a chain. */
export interface ChainPosition {
  readonly replica: DeviceKey;
  readonly incarnation: IncarnationId;
  readonly seq: number;
}

const invalid = (problem: string): MeshError =>
  new MeshError("INPUT_INVALID", `the token ${problem}`, {
    field: "covers",
    remedy: "give the token of a write's receipt as it is, or several with commas between them",
  });

/** `device.incarnation.seq`, the first two in hex; several have commas between them. */
export const formatFrontierToken = (positions: readonly ChainPosition[]): string =>
  positions
    .map(({ replica, incarnation, seq }) => `${replica}.${incarnation}.${String(seq)}`)
    .join(",");

/** The batches that a token names, `LIMITS.tokenPositions` at most. Throws `INPUT_INVALID`. */
export function parseFrontierToken(token: string): readonly ChainPosition[] {
  const parts = token.split(",", LIMITS.tokenPositions + 1);
  if (parts.length > LIMITS.tokenPositions) {
    throw invalid(`names more than ${String(LIMITS.tokenPositions)} batches (tokenPositions)`);
  }
  return parts.map((part) => {
    const [, device = "", incarnation = "", seq = ""] =
      /^([0-9a-f]{64})\.([0-9a-f]{32})\.(0|[1-9][0-9]{0,14})$/u.exec(part) ?? [];
    if (device === "") throw invalid("is not one");
    return {
      replica: parseDeviceKey(device),
      incarnation: parseIncarnationId(incarnation),
      seq: Number(seq),
    };
  });
}
