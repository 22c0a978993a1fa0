// SPDX-License-Identifier: Apache-2.0
/** One part of the `receive` benchmark, in a thread of its own. */
import { parentPort, workerData } from "node:worker_threads";
import type { Figure } from "../figure.ts";
import { attackFigures } from "../receive-attacks.ts";
import { richFigures, signatureFigures } from "../receive-rich.ts";
import type { Effort } from "../receive-rich.ts";

/** What to measure, and how long. */
export interface ReceivePart extends Effort {
  readonly part: "rich" | "signatures" | "attacks";
  /** Of each attack. */
  readonly runs: number;
}

/** What a part says: what it does now, and at the end its figures. */
export type ReceiveMessage =
  | { readonly progress: string }
  | { readonly figures: readonly Figure[] };

const options = workerData as ReceivePart;
// oxlint-disable-next-line unicorn/require-post-message-target-origin -- a port of Node has no origin
const say = (message: ReceiveMessage): void => parentPort?.postMessage(message);

async function measure(): Promise<readonly Figure[]> {
  switch (options.part) {
    case "rich":
      return richFigures(options);
    case "signatures":
      return signatureFigures(options);
    case "attacks":
      return attackFigures(options.runs, (progress) => {
        say({ progress });
      });
  }
}

say({ figures: await measure() });
