// SPDX-License-Identifier: Apache-2.0
/** The receiving end of a backup. */
import { MeshError } from "@ctxmesh/model";
import { fromBase64 } from "./base64.ts";
import { problemToError, transportError } from "./connection.ts";
import type { Connection } from "./connection.ts";

/** As long as the node waits for us; it has always something to send. */
const SILENCE_MS = 60_000;
/** HTTP trailer with what went wrong after the answer had begun: problem details as JSON in base64. */
const PROBLEM_TRAILER = "ctxmesh-problem";

/** The bytes of a backup as they come. */
export async function* receiveBackup(
  connection: Connection,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    // Leaving this loop in any way also ends the response.
    const response = await connection.open("GET", "/v1/backup", { signal, timeoutMs: SILENCE_MS });
    for await (const chunk of response) yield chunk;
    const problem = response.trailer(PROBLEM_TRAILER);
    if (problem !== undefined) throw errorIn(problem);
  } catch (error) {
    throw transportError(error, connection.place, { signal });
  }
}

function errorIn(problem: string): MeshError {
  const error = problemToError(JSON.parse(new TextDecoder().decode(fromBase64(problem))));
  return error ?? new MeshError("PROTOCOL_VIOLATION", "the node ended the backup without a reason");
}
