// SPDX-License-Identifier: Apache-2.0
import type { ChangeEvent } from "@ctxmesh/model";
import { createOutput, printable, shortId } from "../output.ts";
import { withClient } from "../socket.ts";

/** Options of `ctxmesh watch`. */
export interface WatchOptions {
  readonly socket?: string;
  readonly json?: boolean;
  readonly prefix?: string;
}

/** Prints changes until it is interrupted. */
export async function runWatch(doc: string | undefined, options: WatchOptions): Promise<void> {
  const output = createOutput(options);
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once("SIGINT", stop).once("SIGTERM", stop);
  const query = {
    ...(doc === undefined ? {} : { doc }),
    ...(options.prefix === undefined ? {} : { prefix: options.prefix }),
  };
  try {
    await withClient(options.socket, "agent", async (client) => {
      for await (const event of client.watch(query, { signal: interrupt.signal })) {
        await output.line(output.json ? JSON.stringify(event) : describe(event));
      }
    });
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
  }
}

function describe({ doc, key, fact, origin }: ChangeEvent): string {
  const name = `${doc} ${printable(key)}`;
  if (fact === undefined) return `${name} is gone (${origin})`;
  const contested = fact.contested ? ", contested" : "";
  return `${name} = ${printable(JSON.stringify(fact.value))} (${origin}, writer ${shortId(fact.writer)}${contested})`;
}
