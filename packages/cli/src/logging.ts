// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "@ctxmesh/model";
import { destination, pino, stdSerializers } from "pino";
import type { DestinationStream } from "pino";
import pretty from "pino-pretty";
import type { LogLevel } from "./config/types.ts";

/**
 * The log of a daemon on stdout: one JSON object per line with `level` (a name), `time` (ISO 8601),
 * `event` (a stable code) and the event's fields; readable lines when stdout is a terminal.
 */
export function createLogger(level: LogLevel, service: string): Logger {
  const stream: DestinationStream = process.stdout.isTTY
    ? pretty({
        colorize: process.stdout.hasColors(),
        sync: true,
        messageKey: "event",
        ignore: "service",
      })
    : destination({ dest: 1, sync: true });
  const log = pino(
    {
      level,
      base: { service },
      messageKey: "event",
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: stdSerializers.err },
    },
    stream,
  );
  return {
    debug: (event, fields = {}) => log.debug(fields, event),
    info: (event, fields = {}) => log.info(fields, event),
    warn: (event, fields = {}) => log.warn(fields, event),
    error: (event, fields = {}) => log.error(fields, event),
  };
}
