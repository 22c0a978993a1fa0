// SPDX-License-Identifier: Apache-2.0
/** Who follows streams of a node: how many there are, and what they are told. */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { ChangeEvent } from "@ctxmesh/model";

/** The readers of a node's streams, whichever way they come. */
export class Readers {
  #count = 0;

  /** Lets one more in; the function returned lets it go, once. Throws `LIMIT_EXCEEDED` past `LIMITS.streamReaders`. */
  enter(): () => void {
    if (this.#count >= LIMITS.streamReaders) {
      throw new MeshError(
        "LIMIT_EXCEEDED",
        `${String(this.#count)} streams of this node are read, and more are not allowed`,
        { remedy: "end others first, or follow several documents with one" },
      );
    }
    this.#count++;
    let isIn = true;
    return () => {
      if (isIn) this.#count--;
      isIn = false;
    };
  }
}

const texts = new WeakMap<ChangeEvent, string>();

/** A change as JSON, made once for all who are told of it: hundreds that read nothing hold one text. */
export function changeText(event: ChangeEvent): string {
  const known = texts.get(event);
  if (known !== undefined) return known;
  const text = JSON.stringify(event);
  texts.set(event, text);
  return text;
}
