// SPDX-License-Identifier: Apache-2.0
/** The libp2p node of a relay: its parts, their limits, and what keeps a slow agent from filling its memory. */
import { AsyncLocalStorage } from "node:async_hooks";
import { LIMITS } from "@ctxmesh/model";
import { RELAY_V2_STOP_CODEC, circuitRelayServer } from "@libp2p/circuit-relay-v2";
import type { CircuitRelayService } from "@libp2p/circuit-relay-v2";
import { identify } from "@libp2p/identify";
import type { Libp2p, ServiceMap, Stream } from "@libp2p/interface";
import { tcp } from "@libp2p/tcp";
import { webSockets } from "@libp2p/websockets";
import { createLibp2p } from "libp2p";
import { commonSettings } from "./node.ts";
import type { CommonOptions, Internals } from "./node.ts";

/** The services of a relay's node. */
export interface RelayServices extends ServiceMap {
  readonly relay: CircuitRelayService;
  readonly internals: Internals;
}

/** What a relay's node is made of. */
export interface RelayNodeOptions extends CommonOptions {
  /** Limits of one circuit: bytes, both ways, and milliseconds. */
  readonly circuit: { readonly bytes: number; readonly ms: number };
}

/** Connections of those with a reservation, and as many again that call them or come back. */
const MAX_CONNECTIONS: number = 2 * LIMITS.relayReservations;
/** Circuits that one agent may have called for: one to each agent that can be reached. */
const CIRCUITS_PER_AGENT: number = LIMITS.relayReservations;
/** Time for the end that is called to answer. */
const CALL_MS = 5_000;

type RelayServerComponents = Parameters<ReturnType<typeof circuitRelayServer>>[0];

/** Creates a relay's node that is not started. */
export async function createRelayNode(options: RelayNodeOptions): Promise<Libp2p<RelayServices>> {
  const calls = new AsyncLocalStorage<Stream>();
  const node = await createLibp2p<RelayServices>({
    ...commonSettings(options, {
      connections: MAX_CONNECTIONS,
      windowBytes: LIMITS.relayBacklogBytes,
    }),
    transports: [tcp(), webSockets()],
    services: {
      identify: identify(),
      relay: (components: RelayServerComponents) => relayService(options, components, calls),
      internals: ({ transportManager, addressManager }: Internals): Internals => ({
        transportManager,
        addressManager,
      }),
    },
  });
  // The stream to the end that is called, opened while the caller's is handled: the two become one circuit.
  node.use(RELAY_V2_STOP_CODEC, (called, connection, next) => {
    const caller = calls.getStore();
    if (caller !== undefined) {
      holdBack(caller, called);
      holdBack(called, caller);
    }
    next(called, connection);
  });
  return node;
}

/** The circuits of a relay: each has one stream to the agent that is called. */
export const circuitsOf = (node: Libp2p): number =>
  node
    .getConnections()
    .flatMap(({ streams }) => streams)
    .filter(({ protocol }) => protocol === RELAY_V2_STOP_CODEC).length;

/** The library's relay, which is told apart which stream of a caller it handles. */
function relayService(
  { circuit }: RelayNodeOptions,
  components: RelayServerComponents,
  calls: AsyncLocalStorage<Stream>,
): CircuitRelayService {
  // Named one by one: they are got from something that has no list of them.
  const { registrar, peerStore, addressManager, peerId, privateKey } = components;
  const { connectionManager, connectionGater, logger } = components;
  const handle: typeof registrar.handle = async (protocol, handler, settings) =>
    registrar.handle(
      protocol,
      (stream, connection) => calls.run(stream, () => handler(stream, connection)),
      settings,
    );
  const told: typeof registrar = Object.create(registrar, { handle: { value: handle } });
  return circuitRelayServer({
    hopTimeout: CALL_MS,
    maxInboundHopStreams: CIRCUITS_PER_AGENT,
    maxOutboundStopStreams: CIRCUITS_PER_AGENT,
    reservations: {
      maxReservations: LIMITS.relayReservations,
      reservationTtl: LIMITS.relayReservationMs,
      defaultDataLimit: BigInt(circuit.bytes),
      defaultDurationLimit: circuit.ms,
    },
  })({
    registrar: told,
    peerStore,
    addressManager,
    peerId,
    privateKey,
    connectionManager,
    connectionGater,
    logger,
  });
}

/**
 * Keeps what one end has sent and the other has not taken within `LIMITS.relayBacklogBytes`: the library queues it without
 * a limit. Past it the sender is not read any more, and its window runs out.
 */
export function holdBack(from: Stream, to: Stream): void {
  let backlog = 0;
  let paused = false;
  let resuming = false;
  const isOpen = (): boolean => from.readStatus === "readable" || from.readStatus === "paused";
  const settle = (): void => {
    if (resuming || !isOpen()) return;
    if (!paused && backlog > LIMITS.relayBacklogBytes) {
      paused = true;
      from.pause();
    } else if (paused && backlog <= LIMITS.relayBacklogBytes / 2) {
      // Hands over what it held, and grants window after that: a pause from inside would be undone.
      resuming = true;
      paused = false;
      from.resume();
      resuming = false;
      settle();
    }
  };
  from.addEventListener("message", ({ data }) => {
    backlog += data.byteLength;
    settle();
  });
  const send = to.send.bind(to);
  to.send = (data) => {
    backlog -= data.byteLength;
    const more = send(data);
    settle();
    return more;
  };
}
