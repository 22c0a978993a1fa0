// SPDX-License-Identifier: Apache-2.0
import type { WriteStream } from "node:tty";
import type { Mesh } from "./mesh.ts";

const REFRESH_MS = 500;
/** Off a terminal one line in so many refreshes is printed. */
const LINES_EVERY = 4;

/** Shows what the agents have done so far while time passes: in place on a terminal, else as lines. */
export class LiveCounts {
  readonly #mesh: Mesh;
  readonly #out: WriteStream;
  #refreshes = 0;

  constructor(mesh: Mesh, out: WriteStream) {
    this.#mesh = mesh;
    this.#out = out;
  }

  /** Prints the counts, waits a moment, and returns the facts written so far. */
  async #refresh(): Promise<number> {
    const { agents, hub } = this.#mesh;
    const statuses = (await this.#mesh.statuses(agents)) ?? [];
    let [written, received, p50, p95] = [0, 0, 0, 0];
    for (const status of statuses) {
      written += status.written;
      received += status.applied;
      p50 = Math.max(p50, status.propagation.p50Ms);
      p95 = Math.max(p95, status.propagation.p95Ms);
    }
    const line = [
      `written ${String(written)}`,
      `received ${String(received)}`,
      `contested ${String(statuses[0]?.contested ?? 0)}`,
      `p50 ${String(p50)} ms`,
      `p95 ${String(p95)} ms`,
      `peers ${statuses.map(({ peers }) => String(peers.length)).join("+")}`,
      `hub ${hub.running ? "up" : "down"}`,
    ].join("   ");
    if (this.#out.isTTY) this.#out.write(`\r\u001B[K  ${line}`);
    else if (this.#refreshes % LINES_EVERY === 0) this.#out.write(`  ${line}\n`);
    this.#refreshes++;
    await new Promise((resolve) => setTimeout(resolve, REFRESH_MS));
    return written;
  }

  #end(): void {
    if (this.#out.isTTY) this.#out.write("\n");
  }

  /** Shows counts for a while. */
  async forSeconds(seconds: number): Promise<void> {
    const end = Date.now() + seconds * 1000;
    while (Date.now() < end) await this.#refresh();
    this.#end();
  }

  /** Shows counts until no agent writes any more, at most `seconds`. */
  async untilStill(seconds: number): Promise<void> {
    const end = Date.now() + seconds * 1000;
    let before = -1;
    let written = await this.#refresh();
    while (written !== before && Date.now() < end) {
      before = written;
      // Two refreshes, so that a pause of one source is not mistaken for the end.
      await this.#refresh();
      written = await this.#refresh();
    }
    this.#end();
  }
}
