// SPDX-License-Identifier: Apache-2.0
/**
 * The `HintBus` port on NATS core, which delivers at most once. Subject `ctxmesh.log.<space, hex>`; payload: the position, u64,
 * big-endian.
 */
import { MeshError, toMeshError } from "@ctxmesh/model";
import type { HintBus, Logger, SpaceId } from "@ctxmesh/model";
import { connect } from "@nats-io/transport-node";
import type { ConnectionOptions, NatsConnection, Subscription } from "@nats-io/transport-node";

/** What the bus is made of. */
export interface NatsHintsOptions {
  /** `nats://host:port` or `tls://host:port`, with `user:password@` where the server asks for it. */
  readonly url: string;
  readonly logger: Logger;
}

const RECONNECT_MS = 500;
const POSITION_BYTES = 8;

/** Throws `CONFIG_INVALID`; the text itself may hold a password. */
function optionsOf(url: string): ConnectionOptions & { readonly servers: string } {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !["nats:", "tls:"].includes(parsed.protocol)) {
    throw new MeshError("CONFIG_INVALID", "the address of the bus of hints can't be used", {
      field: "hints",
      remedy: "write it as nats://host:4222, or tls://user:password@host:4222",
    });
  }
  const { hostname, port, username, password, protocol } = parsed;
  return {
    servers: `${hostname}:${port === "" ? "4222" : port}`,
    ...(username === "" ? {} : { user: decodeURIComponent(username) }),
    ...(password === "" ? {} : { pass: decodeURIComponent(password) }),
    ...(protocol === "tls:" ? { tls: {} } : {}),
  };
}

/** A bus that connects in the background, again and again while it can't. Throws `CONFIG_INVALID` for an address that is none. */
export const openNatsHints = (options: NatsHintsOptions): HintBus => new NatsHints(options);

const subjectOf = (space: SpaceId): string => `ctxmesh.log.${space}`;

function encodePosition(position: number): Uint8Array {
  const bytes = new Uint8Array(POSITION_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(position));
  return bytes;
}

/** Anybody on the bus may say anything. */
function decodePosition(bytes: Uint8Array): number | undefined {
  if (bytes.length !== POSITION_BYTES) return undefined;
  const position = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0));
  return Number.isSafeInteger(position) ? position : undefined;
}

interface Listening {
  readonly space: SpaceId;
  readonly listener: (position: number) => void;
  subscription?: Subscription;
}

class NatsHints implements HintBus {
  readonly #logger: Logger;
  readonly #where: string;
  readonly #listening = new Set<Listening>();
  readonly #connecting: Promise<void>;
  readonly #stopped = new AbortController();
  #connection: NatsConnection | undefined;
  #closing: Promise<void> | undefined;

  constructor({ url, logger }: NatsHintsOptions) {
    const options = optionsOf(url);
    this.#logger = logger;
    this.#where = options.servers;
    this.#connecting = this.#connect(options);
  }

  async #connect(options: ConnectionOptions): Promise<void> {
    while (!this.#stopped.signal.aborted) {
      try {
        const connection = await connect({
          ...options,
          name: "ctxmesh",
          noEcho: true,
          maxReconnectAttempts: -1,
          reconnectTimeWait: RECONNECT_MS,
        });
        this.#connection = connection;
        this.#logger.info("hints.connected", { address: this.#where });
        void this.#watch(connection);
        for (const listening of this.#listening) this.#subscribe(connection, listening);
        return;
      } catch (error) {
        this.#logger.debug("hints.unavailable", {
          address: this.#where,
          error: toMeshError(error).message,
        });
        await pause(RECONNECT_MS, this.#stopped.signal);
      }
    }
  }

  async #watch(connection: NatsConnection): Promise<void> {
    for await (const { type } of connection.status()) {
      if (type === "disconnect" || type === "reconnect") {
        this.#logger.info(`hints.${type}`, { address: this.#where });
      }
    }
  }

  #subscribe(connection: NatsConnection, listening: Listening): void {
    listening.subscription = connection.subscribe(subjectOf(listening.space), {
      callback: (error, message) => {
        const position = error === null ? decodePosition(message.data) : undefined;
        if (position !== undefined) listening.listener(position);
      },
    });
  }

  tell(space: SpaceId, position: number): void {
    const connection = this.#connection;
    // While it reconnects, the library would keep what is to be said, without a bound.
    if (connection === undefined || connection.isClosed()) return;
    try {
      connection.publish(subjectOf(space), encodePosition(position));
    } catch (error) {
      this.#logger.debug("hints.lost", { error: toMeshError(error).message });
    }
  }

  listen(space: SpaceId, listener: (position: number) => void): () => void {
    const listening: Listening = { space, listener };
    this.#listening.add(listening);
    if (this.#connection !== undefined) this.#subscribe(this.#connection, listening);
    return () => {
      this.#listening.delete(listening);
      listening.subscription?.unsubscribe();
    };
  }

  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async #close(): Promise<void> {
    this.#stopped.abort();
    await this.#connecting;
    await this.#connection?.close();
  }
}

/** Waits; not longer than until the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  const aborted = (): void => {
    resolve();
  };
  signal.addEventListener("abort", aborted, { once: true });
  await promise;
  clearTimeout(timer);
  signal.removeEventListener("abort", aborted);
}
