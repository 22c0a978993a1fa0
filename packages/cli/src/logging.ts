// SPDX-License-Identifier: Apache-2.0
import type { Logger } from "@ctxmesh/model";
import { destination, pino, stdSerializers } from "pino";
import type { DestinationStream } from "pino";
import pretty from "pino-pretty";
import type { LogLevel } from "./config/types.ts";

/**
 * The log of a daemon, on stdout unless that is for something else: one JSON object per line with `level` (a name), `time` (ISO 8601),
 * `event` (a stable code) and the event's fields; readable lines on a terminal.
 */
export function createLogger(
  level: LogLevel,
  service: string,
  output: NodeJS.WriteStream & { readonly fd: number } = process.stdout,
): Logger {
  const stream: DestinationStream = output.isTTY
    ? pretty({
        colorize: output.hasColors(),
        destination: output.fd,
        sync: true,
        messageKey: "event",
        ignore: "service",
      })
    : destination({ dest: output.fd, sync: true });
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
