// SPDX-License-Identifier: Apache-2.0
/** The life of a daemon process: start, run, drain on a signal, exit. */
import { flushCompileCache } from "node:module";
import { EXIT, toMeshError } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";

/** A started program. */
export interface Running {
  stop(): Promise<void>;
}

/** A drain that takes longer is cut; container runtimes send SIGKILL at 30 s. */
const DRAIN_MS = 25_000;

/**
 * Starts a program and returns when a SIGTERM or SIGINT has stopped it. A signal while it starts
 * stops it as soon as it has. The second signal exits at once with code 1; a drain that exceeds
 * its time exits with code 4. Errors of the start are thrown.
 */
export async function runDaemon(start: () => Promise<Running>, logger: Logger): Promise<void> {
  const { promise: stopping, resolve: requestStop } = Promise.withResolvers<NodeJS.Signals>();
  let requested = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    if (requested) process.exit(EXIT.failed);
    requested = true;
    requestStop(signal);
  };
  const onDefect = (error: unknown): void => {
    logger.error("daemon.failed", { code: toMeshError(error).code, error });
    process.exit(EXIT.failed);
  };
  process.on("SIGTERM", onSignal).on("SIGINT", onSignal);
  process.on("uncaughtException", onDefect).on("unhandledRejection", onDefect);
  try {
    const running = await start();
    // What this start has compiled, for the next: a process that is killed leaves none.
    flushCompileCache();
    const signal = await stopping;
    logger.info("daemon.stopping", { signal });
    const overdue = setTimeout(() => {
      logger.error("daemon.drain-overdue", { limitMs: DRAIN_MS });
      process.exit(EXIT.unavailable);
    }, DRAIN_MS);
    await running.stop();
    clearTimeout(overdue);
    logger.info("daemon.stopped");
  } finally {
    process.off("SIGTERM", onSignal).off("SIGINT", onSignal);
    process.off("uncaughtException", onDefect).off("unhandledRejection", onDefect);
  }
}
