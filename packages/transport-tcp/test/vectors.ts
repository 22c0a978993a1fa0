// SPDX-License-Identifier: Apache-2.0
/** The vectors of `vectors.json`, in bytes. */
import { readFileSync } from "node:fs";
import { fromHex } from "@ctxmesh/model";

interface File {
  readonly handshakes: readonly (Readonly<Record<string, string>> & {
    readonly name: string;
    readonly keys: Readonly<Record<string, string>>;
    readonly frames: readonly {
      readonly sender: "client" | "server";
      readonly number: number;
      readonly message: string;
      readonly frame: string;
    }[];
  })[];
  readonly smallOrder: readonly string[];
}

const file = JSON.parse(
  readFileSync(new URL("vectors.json", import.meta.url), "utf8"),
) as unknown as File;

/** A frame as it stands on the wire. */
export interface FrameVector {
  readonly sender: "client" | "server";
  readonly number: number;
  readonly message: Uint8Array;
  readonly frame: Uint8Array;
}

/** A handshake with all that both ends compute. */
export interface HandshakeVector {
  readonly name: string;
  /** The bytes of a member; of a key by its label. */
  at(name: string): Uint8Array;
  readonly frames: readonly FrameVector[];
}

export const HANDSHAKES: readonly HandshakeVector[] = file.handshakes.map((vector) => ({
  name: vector.name,
  at: (name) => fromHex(vector.keys[name] ?? vector[name] ?? ""),
  frames: vector.frames.map((frame) => ({
    ...frame,
    message: fromHex(frame.message),
    frame: fromHex(frame.frame),
  })),
}));

/** X25519 keys with which every secret is all zero. */
export const SMALL_ORDER: readonly Uint8Array[] = file.smallOrder.map(fromHex);
