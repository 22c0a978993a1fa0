// SPDX-License-Identifier: Apache-2.0
/**
 * The message by which a node says on which way it wants whose batches (`relay-choice.ts`).
 *
 * ```
 * routes = [13, here: bstr, elsewhere: bstr]     each a list of devices, by the first 8 bytes of their keys, ascending, with nothing between;
 *                                                none in both, `LIMITS.routedDevices` at most in all
 * ```
 *
 * It replaces what the sender said before; until it says something, both are empty. It is said when something of it has changed,
 * once a second at most, and never to a hub, which pushes everything on.
 */
import type { CborValue } from "@ctxmesh/codec";
import { LIMITS, fromHex, toHex } from "@ctxmesh/model";
import { bytesOf, refuse } from "./message-parts.ts";
import { PREFIX_DIGITS } from "./relay-choice.ts";
import type { Routes } from "./relay-choice.ts";

/** Which devices' batches the sender wants pushed by the receiver, and which it gets elsewhere. */
export interface RoutesMessage extends Routes {
  readonly type: "routes";
}

const PREFIX_BYTES = PREFIX_DIGITS / 2;

const listOf = (devices: ReadonlySet<string>): Uint8Array =>
  fromHex([...devices].toSorted().join(""));

/** The items of a routes message behind its type. */
export const routesItems = ({ here, elsewhere }: Routes): CborValue[] => [
  listOf(here),
  listOf(elsewhere),
];

function devicesOf(value: CborValue | undefined): readonly string[] {
  const bytes = bytesOf(value);
  if (bytes.length > LIMITS.routedDevices * PREFIX_BYTES || bytes.length % PREFIX_BYTES !== 0) {
    refuse("has a list of devices of another length than is allowed");
  }
  const hex = toHex(bytes);
  const devices: string[] = [];
  for (let i = 0; i < hex.length; i += PREFIX_DIGITS) {
    const device = hex.slice(i, i + PREFIX_DIGITS);
    if (device <= (devices.at(-1) ?? "")) refuse("has a list of devices that does not ascend");
    devices.push(device);
  }
  return devices;
}

/** Parses the items of an untrusted routes message behind its type. Throws `PROTOCOL_VIOLATION`. */
export function routesOf(
  here: CborValue | undefined,
  elsewhere: CborValue | undefined,
): RoutesMessage {
  const message: RoutesMessage = {
    type: "routes",
    here: new Set(devicesOf(here)),
    elsewhere: new Set(devicesOf(elsewhere)),
  };
  if (message.here.size + message.elsewhere.size > LIMITS.routedDevices) {
    refuse("names more devices than are allowed");
  }
  for (const device of message.here) {
    if (message.elsewhere.has(device)) refuse("names a device in two lists");
  }
  return message;
}
