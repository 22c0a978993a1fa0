// SPDX-License-Identifier: Apache-2.0
/** Server-sent events (WHATWG HTML, section 9.2.6), as far as a node sends them: `event` and `data` fields. */
import { LIMITS, MeshError } from "@ctxmesh/model";

/** One dispatched event. */
export interface StreamEvent {
  readonly event: string;
  readonly data: string;
}

/** Characters of one event; a change holds one fact. */
const MAX_EVENT_LENGTH = LIMITS.requestBytes;

/**
 * The events in chunks of UTF-8; `event` is undefined for a comment, which shows that the node is
 * there. Throws `LIMIT_EXCEEDED` for a line or event without end.
 */
export async function* parseEventStream(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<StreamEvent | undefined> {
  const utf8 = new TextDecoder();
  let rest = "";
  let event = "message";
  let data = "";
  for await (const chunk of chunks) {
    const lines = (rest + utf8.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data !== "") yield { event, data };
        event = "message";
        data = "";
      } else if (line.startsWith(":")) {
        yield undefined;
      } else if (line.startsWith("event: ")) {
        event = line.slice("event: ".length);
      } else if (line.startsWith("data: ")) {
        data += (data === "" ? "" : "\n") + line.slice("data: ".length);
      }
    }
    if (rest.length + data.length > MAX_EVENT_LENGTH) {
      throw new MeshError("LIMIT_EXCEEDED", "an event of the stream is too long");
    }
  }
}
