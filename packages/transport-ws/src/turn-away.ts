// SPDX-License-Identifier: Apache-2.0
/** Answers to upgrade requests that are not followed. */
import type { Duplex } from "node:stream";
import type { MeshErrorCode } from "@ctxmesh/model";

type Status = "403 Forbidden" | "404 Not Found" | "503 Service Unavailable";

/** What each status is in an error. */
const CODES: Readonly<Record<Status, MeshErrorCode>> = {
  "403 Forbidden": "POLICY_REFUSED",
  "404 Not Found": "NOT_FOUND",
  "503 Service Unavailable": "CLOSED",
};

const RETRY_SECONDS = 5;

/** Answers with a status and the problem details (RFC 9457) of it, and ends the connection. */
export function turnAway(connection: Duplex, status: Status, detail: string): void {
  const code = CODES[status];
  const number = Number(status.slice(0, 3));
  const body = JSON.stringify({
    type: `urn:ctxmesh:error:${code}`,
    title: code.toLowerCase().replaceAll("_", " "),
    status: number,
    detail,
    code,
  });
  const header = [
    `HTTP/1.1 ${status}`,
    ...(number === 503 ? [`Retry-After: ${String(RETRY_SECONDS)}`] : []),
    "Connection: close",
    "Content-Type: application/problem+json",
    `Content-Length: ${String(Buffer.byteLength(body))}`,
  ];
  connection.on("error", () => undefined);
  // The HTTP server has let go of it: who does not close it at the other end would keep it for ever.
  connection.end(`${header.join("\r\n")}\r\n\r\n${body}`, () => connection.destroy());
}
