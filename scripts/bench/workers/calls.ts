// SPDX-License-Identifier: Apache-2.0
/** The child's end of `children.ts`. */
import process from "node:process";

/** What the parent asks for. */
export interface Call {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

/** What the child says to it. */
export interface Answer {
  readonly id: number;
  readonly value?: unknown;
  readonly error?: string;
}

/** What a child can do, by name. */
export type Methods = Readonly<Record<string, (argument: never) => unknown>>;

/** Answers the parent's calls until it closes the channel; then runs `stop` and ends the process. */
export function serveCalls(methods: Methods, stop: () => Promise<void>): void {
  const answer = async ({ id, method, argument }: Call): Promise<Answer> => {
    try {
      const run = methods[method];
      if (run === undefined) throw new Error(`no method ${method}`);
      return { id, value: await run(argument as never) };
    } catch (error) {
      return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
    }
  };
  process.on("message", (message) => {
    answer(message as Call)
      .then((result) => process.send?.(result))
      .catch(() => undefined);
  });
  process.once("disconnect", () => {
    stop()
      .catch(() => undefined)
      .finally(() => process.exit());
  });
  // The parent decides when a run that was interrupted from the keyboard ends.
  process.on("SIGINT", () => undefined);
}
