// SPDX-License-Identifier: Apache-2.0
/** Writes that wait until a hub has them, or a seal covers them. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { AckLevel, DeviceKey, WriteOptions, WriteReceipt } from "@ctxmesh/model";
import type { Confirmations } from "@ctxmesh/sync";

const LEVELS: readonly AckLevel[] = ["local", "hub", "sealed"];

/** Checks what a caller asks for. Throws `INPUT_INVALID`. */
function parseOptions({ ack = "local", timeoutMs = LIMITS.ackDefaultMs }: WriteOptions): {
  readonly ack: AckLevel;
  readonly timeoutMs: number;
} {
  if (!LEVELS.includes(ack)) {
    throw new MeshError("INPUT_INVALID", `ack must be ${LEVELS.join(", ")}`, { field: "ack" });
  }
  const most = LIMITS.ackTimeoutMs;
  if (!(Number.isInteger(timeoutMs) && timeoutMs >= 1 && timeoutMs <= most)) {
    const message = `timeoutMs must be a whole number of milliseconds from 1 to ${String(most)}`;
    throw new MeshError("INPUT_INVALID", message, { field: "timeoutMs" });
  }
  return { ack, timeoutMs };
}

/**
 * Makes a write of `device`, and waits until it has got as far as `options` ask for. What is wrong with them is said before
 * anything is written: `INPUT_INVALID`, or `LIMIT_EXCEEDED` while too many writes wait. After that the write is durable here
 * whatever happens: `ACK_TIMEOUT`, `POLICY_REFUSED` when its chain was cut below it, `CLOSED` when the node stops.
 */
export async function writeAcknowledged(
  confirmations: Confirmations | undefined,
  device: DeviceKey,
  options: WriteOptions,
  write: () => Promise<WriteReceipt>,
): Promise<WriteReceipt> {
  const { ack, timeoutMs } = parseOptions(options);
  if (ack === "local") return write();
  if (confirmations === undefined) {
    throw new MeshError("INPUT_INVALID", `this node does not sync, so nothing becomes ${ack}`, {
      field: "ack",
    });
  }
  confirmations.assertRoom();
  const receipt = await write();
  const { incarnation, seq } = receipt;
  const at = { replica: device, incarnation, seq };
  const outcome = await confirmations.reached(at, ack, timeoutMs);
  switch (outcome) {
    case "reached":
      return { ...receipt, acknowledged: ack };
    case "late": {
      const level = confirmations.confirmed(at).hub >= seq ? "hub" : "local";
      throw new MeshError(
        "ACK_TIMEOUT",
        `the write is durable here and acknowledged as ${level}; it was not ${ack} within ${String(timeoutMs)} ms`,
        { field: "ack", remedy: "don't write it again: it goes on by itself; see ctxmesh status" },
      );
    }
    case "cut":
      throw new MeshError(
        "POLICY_REFUSED",
        "the write is durable here and does not count: the device was revoked, or two processes wrote as this device",
        { remedy: "see ctxmesh status; what a clone of this device cut off is stated again" },
      );
    case "ended":
      throw new MeshError("CLOSED", "the node is shutting down; the write is durable here", {
        remedy: "don't write it again: it goes on when the node is started",
      });
  }
}
