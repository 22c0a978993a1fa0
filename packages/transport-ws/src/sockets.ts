// SPDX-License-Identifier: Apache-2.0
/** What server and client do alike with a WebSocket. */
import { LIMITS } from "@ctxmesh/model";
import type { RawData, WebSocket } from "ws";

/** Settings of every WebSocket, at both ends. Compression costs 6 to 9 times the CPU for a tenth of the bytes. */
export const SOCKET_OPTIONS: {
  readonly perMessageDeflate: false;
  readonly maxPayload: number;
  readonly maxFragments: number;
  readonly maxBufferedChunks: number;
} = {
  perMessageDeflate: false,
  maxPayload: LIMITS.syncMessageBytes,
  maxFragments: 64,
  // The largest message may come in pieces of one small network packet each.
  maxBufferedChunks: 4_096,
};

/** Close codes (RFC 6455 section 7.4; 4000 and up are the application's). */
export const CLOSE_CODES = {
  normal: 1000,
  goingAway: 1001,
  unsupportedData: 1003,
  restart: 1012,
  tryAgainLater: 1013,
  unauthorized: 4401,
} as const;

const REASON_BYTES = 123;
/** Time for the other end to answer a close. */
const CLOSE_MS = 2_000;

/** Closes a WebSocket; resolves when it is closed, by force if the other end does not answer. */
export function closeSocket(socket: WebSocket, code: number, reason: string): Promise<void> {
  if (socket.readyState === socket.CLOSED) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      socket.terminate();
    }, CLOSE_MS);
    socket.once("close", () => {
      clearTimeout(timer);
      resolve();
    });
    const buffer = new Uint8Array(REASON_BYTES);
    const { written } = new TextEncoder().encodeInto(reason, buffer);
    if (socket.readyState === socket.CONNECTING) socket.terminate();
    else socket.close(code, Buffer.from(buffer.subarray(0, written)));
  });
}

/** The bytes of a received message, as a plain `Uint8Array` over the same memory. */
export function bytesOf(data: RawData): Uint8Array {
  const buffer = Array.isArray(data) ? Buffer.concat(data) : data;
  if (buffer instanceof ArrayBuffer) return new Uint8Array(buffer);
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}

/** What the other end gave as the reason of a close, for a log. */
export function describeClose(code: number, reason: Uint8Array): string {
  const text = new TextDecoder().decode(reason);
  return text === "" ? `closed with code ${String(code)}` : `${text} (code ${String(code)})`;
}

/** The longest that somebody is asked to stay away, in milliseconds. */
export const AWAY_MS = 30_000;

/** The reason of a close with 1012: when to come back, in milliseconds. */
export const restartReason = (inMs: number): string =>
  `the hub stops; come back in ${String(inMs)} ms`;

/** When the other end asks to come back, in milliseconds, {@link AWAY_MS} at most; undefined when it does not. */
export function comeBackMs(code: number, reason: Uint8Array): number | undefined {
  const [, digits] = / in (\d{1,6}) ms$/u.exec(new TextDecoder().decode(reason)) ?? [];
  if (code !== CLOSE_CODES.restart || digits === undefined) return undefined;
  return Math.min(Number(digits), AWAY_MS);
}
