// SPDX-License-Identifier: Apache-2.0
/** The stream multiplexer: yamux, made safe against a connection that closes while a stream is being opened. */
import type { MessageStream, StreamMuxer, StreamMuxerFactory } from "@libp2p/interface";
import { yamux } from "@libp2p/yamux";
import type { YamuxMuxerInit } from "@libp2p/yamux";
import { WindowUpdates } from "./window-updates.ts";

/**
 * Yamux opens a stream with a frame that it sends from a microtask of its own. When the connection has closed by
 * then, sending throws where nobody can catch it, so a peer that accepts a connection and cuts it at once could end
 * the process. Here such a frame is dropped: the close of the connection, which follows, ends the stream. `onMuxer` is told
 * of each connection.
 */
export function createMuxer(
  init: YamuxMuxerInit,
  onMuxer: (muxer: StreamMuxer, connection: MessageStream) => void = () => undefined,
): () => StreamMuxerFactory {
  const createFactory = yamux(init);
  return () => {
    const factory = createFactory();
    return {
      protocol: factory.protocol,
      createStreamMuxer: (connection): StreamMuxer => {
        const muxer = factory.createStreamMuxer(connection);
        // Not in the interface of muxers, but what every frame goes through.
        const send = muxer.send.bind(muxer);
        const updates = new WindowUpdates();
        muxer.send = (data) => {
          // Frames without content come as they are, others as lists.
          if (data instanceof Uint8Array && !updates.passes(data)) return true;
          try {
            return send(data);
          } catch (error) {
            if (error instanceof Error && error.name === "StreamStateError") return false;
            throw error;
          }
        };
        onMuxer(muxer, connection);
        return muxer;
      },
    };
  };
}
