// SPDX-License-Identifier: Apache-2.0
/** Child processes that answer calls over IPC. */
import { fork } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { Answer, Call } from "./workers/calls.ts";

/** A running child. Disposing it ends its process and waits for that. */
export interface Child extends AsyncDisposable {
  /** Of the process. */
  readonly pid: number;
  /** Has the child do something; rejects when that fails or the child ends. */
  call(method: string, argument?: unknown): Promise<unknown>;
}

/** How long a child may take to end by itself. */
const GRACE_MS = 3_000;

/** What stands in front of the command of a child that is to run elsewhere, such as in a network namespace. */
export type Within = readonly [] | readonly [string, ...string[]];

/** How a child is run. */
export interface ChildOptions {
  readonly within?: Within;
  /** Another program instead of `workers/<name>.ts`, such as what was made of it. */
  readonly program?: string;
}

/** Starts `workers/<name>.ts`, with the flags of this process. It is killed when `signal` aborts. */
export function startChild(
  name: string,
  signal: AbortSignal,
  { within = [], program: made }: ChildOptions = {},
): Child {
  const file = made ?? fileURLToPath(new URL(`workers/${name}.ts`, import.meta.url));
  const [program, ...args] = [...within, process.execPath];
  const child = fork(file, {
    serialization: "advanced",
    signal,
    killSignal: "SIGKILL",
    execPath: program,
    execArgv: [...args, ...process.execArgv],
  });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let calls = 0;
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended ??= error;
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
  };
  child.on("error", end);
  child.on("exit", (code, by) => {
    end(new Error(`the ${name} process ended early (${String(by ?? code)})`));
  });
  child.on("message", (message) => {
    const { id, value, error } = message as Answer;
    const settle = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) settle?.resolve(value);
    else settle?.reject(new Error(`${name}: ${error}`));
  });
  return {
    pid: child.pid ?? 0,
    call: async (method, argument) => {
      if (ended !== undefined) throw ended;
      const answer = Promise.withResolvers<unknown>();
      const call: Call = { id: calls++, method, argument };
      waiting.set(call.id, answer);
      child.send(call);
      return answer.promise;
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const exit = once(child, "exit");
      // A child ends when its channel closes.
      if (child.connected) child.disconnect();
      const timer = setTimeout(() => child.kill("SIGKILL"), GRACE_MS);
      await exit;
      clearTimeout(timer);
    },
  };
}
