// SPDX-License-Identifier: Apache-2.0
/**
 * What an auditor asks for beyond the trust root, as JSON:
 *
 * ```
 * { "format": "ctxmesh-audit-policy/v1",
 *   "batches"?: true          every fact must be derived again from signed batches in the bundle
 *   "hybridDecisions"?: true  a decision must be covered by a composite signature
 *   "maxAgeMs"?: uint         the seal was logged no longer ago than that
 *   "minSequence"?: uint      the seal has at least this number
 *   "witnesses"?: uint }      so many witnesses of the trust root cosigned the checkpoint
 * ```
 */
import { assertJsonValue } from "@ctxmesh/codec";
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { JsonValue } from "@ctxmesh/model";
import { malformed, readInteger } from "./read.ts";

const FORMAT = "ctxmesh-audit-policy/v1";

/** What an auditor asks for; absent members ask for nothing. */
export interface AuditPolicy {
  readonly batches?: true;
  readonly hybridDecisions?: true;
  /** Milliseconds. */
  readonly maxAgeMs?: number;
  readonly minSequence?: number;
  readonly witnesses?: number;
}

const FLAGS = ["batches", "hybridDecisions"] as const;
const NUMBERS = ["maxAgeMs", "minSequence", "witnesses"] as const;

/** Parses a policy file. Throws `LIMIT_EXCEEDED`, `FORMAT_INVALID` or `INPUT_INVALID`; a misspelt member is refused, not passed over. */
export function parseAuditPolicy(text: string): AuditPolicy {
  if (text.length > LIMITS.smallFileBytes) {
    throw new MeshError("LIMIT_EXCEEDED", "policy is longer than LIMITS.smallFileBytes");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new MeshError("FORMAT_INVALID", "policy is not JSON", { cause: error });
  }
  assertJsonValue(value, "policy");
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return malformed("policy is not an object");
  }
  const { format, ...asked } = value as Readonly<Record<string, JsonValue>>;
  if (format !== FORMAT) malformed(`policy format is not ${FORMAT}`);
  const policy: Record<string, true | number> = {};
  for (const [name, wanted] of Object.entries(asked)) {
    if ((FLAGS as readonly string[]).includes(name)) {
      policy[name] = wanted === true ? true : malformed(`policy.${name} is not true`);
    } else if ((NUMBERS as readonly string[]).includes(name)) {
      policy[name] = readInteger(wanted, 0, `policy.${name}`);
    } else {
      malformed(`policy has the unknown member ${JSON.stringify(name.slice(0, 40))}`);
    }
  }
  return policy;
}
