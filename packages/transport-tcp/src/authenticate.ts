// SPDX-License-Identifier: Apache-2.0
/** Runs a handshake over a TCP connection, within `LIMITS.handshakeMs`. */
import type { Socket } from "node:net";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import { Handshake } from "./handshake.ts";
import type { HandshakeOptions, LinkSession } from "./handshake.ts";

/** Who is at the other end, and what came behind the end of the handshake. */
export interface Authenticated {
  readonly session: LinkSession;
  readonly early: Uint8Array;
}

/** One connection on its way to an authenticated channel. */
export interface Authentication {
  /**
   * Calls `onDone` synchronously with the end of the handshake, so that what comes behind it meets a listener. The promise resolves then;
   * it rejects with `AUTH_FAILED` when the other end was refused, else with `UNREACHABLE`, once the connection is closed without a word.
   */
  readonly settled: Promise<void>;
  /** Gives up, if it is not over. */
  refuse(reason: string): void;
}

const NOTHING = new Uint8Array();

/** Begins on a connection that is there. */
export function authenticate(
  socket: Socket,
  options: HandshakeOptions,
  onDone: (authenticated: Authenticated) => void,
): Authentication {
  const { promise: settled, resolve, reject } = Promise.withResolvers<void>();
  const handshake = new Handshake(options);
  let received: Uint8Array = NOTHING;
  let isOver = false;
  const release = (): void => {
    isOver = true;
    clearTimeout(timer);
    socket.off("data", onData).off("error", onError).off("close", onClose);
  };
  const fail = (error: MeshError): void => {
    if (isOver) return;
    release();
    socket.on("error", () => undefined).destroy();
    reject(error);
  };
  const refuse = (reason: string): void => fail(new MeshError("AUTH_FAILED", reason));
  const timer = setTimeout(() => {
    refuse(`not authenticated after ${String(LIMITS.handshakeMs)} ms`);
  }, LIMITS.handshakeMs);
  let problem = "closed by the other end before it was known";
  const onError = (error: Error): void => {
    problem = error.message;
  };
  const onClose = (): void => fail(new MeshError("UNREACHABLE", problem));
  /** Takes the next message; whether that was the last one. */
  const take = (): boolean => {
    const { wants } = handshake;
    const { send, session } = handshake.receive(received.subarray(0, wants));
    received = received.subarray(wants);
    if (send.length > 0) socket.write(send);
    if (session === undefined) return false;
    release();
    onDone({ session, early: received });
    resolve();
    return true;
  };
  const onData = (bytes: Uint8Array): void => {
    received = Buffer.concat([received, bytes]);
    try {
      while (received.length >= handshake.wants) if (take()) return;
    } catch (error) {
      fail(toMeshError(error));
    }
  };
  socket.on("data", onData).on("error", onError).on("close", onClose);
  const hello = handshake.start();
  if (hello.length > 0) socket.write(hello);
  return { settled, refuse };
}
