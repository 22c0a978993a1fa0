// SPDX-License-Identifier: Apache-2.0
/**
 * Joining a space with an invite: as the invite's key, connect to a contact and sync; sign the grant of the new device
 * with that key; then connect as the new device. That a contact talks to it is the proof that it has the grant.
 */
import { encodeSignedRecord } from "@ctxmesh/codec";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { acceptInvite } from "@ctxmesh/membership";
import type { Contact, Invitation, Space } from "@ctxmesh/membership";
import { MeshError, parseDeviceKey, toHex } from "@ctxmesh/model";
import type { Channel, DeviceSigner, Logger, SignatureVerifier, Transport } from "@ctxmesh/model";
import type { Replica } from "@ctxmesh/replica";
import { startSync } from "./start-sync.ts";
import type { NodeDeps } from "./start-sync.ts";

/** What a join takes. */
export interface JoinOptions {
  readonly invitation: Invitation;
  /** Ed25519 seed of the key of the device that joins, 32 bytes. */
  readonly deviceSeed: Uint8Array;
  /** For the whole join. */
  readonly timeoutMs: number;
  /** Calls the join off. */
  readonly signal?: AbortSignal;
  readonly onProgress?: (step: JoinStep) => void;
}

/** What a join has got to, in this order: talks to a contact, signed the device's grant, a contact took the device in. */
export type JoinStep =
  | { readonly step: "connected"; readonly contact: Contact }
  | { readonly step: "granted"; readonly acts: number }
  | { readonly step: "admitted"; readonly contact: Contact };

/** Under which key contacts are connected to. */
export interface JoinIdentity {
  readonly seed: Uint8Array;
  readonly device: DeviceSigner;
  readonly verifier: SignatureVerifier;
}

/** What a join needs of the machine that it runs on. */
export interface JoinWays {
  /** Opens a replica of the space under the invite's key, in a store that lives no longer than the join. It is closed with the stack. */
  open(
    deps: NodeDeps,
    stack: AsyncDisposableStack,
  ): Promise<Omit<JoinIdentity, "seed"> & { readonly replica: Replica }>;
  /** Transports to the contacts, not started; each admits exactly the contacts' devices. Throws `CONFIG_INVALID`. */
  connect(identity: JoinIdentity, deps: NodeDeps): readonly Transport[];
}

/** Resolves once `isDone` holds, which is looked at now and whenever acts took effect. */
async function whenRecords(replica: Replica, isDone: () => boolean): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = (): void => {
    if (isDone()) resolve();
  };
  const stop = replica.onRecords(look);
  look();
  await promise;
  stop();
}

/** A logger that remembers why no contact could be reached. */
function remembering(logger: Logger): { readonly logger: Logger; readonly last: () => string } {
  let last = "";
  const note =
    (level: "debug" | "info" | "warn") =>
    (event: string, fields: Readonly<Record<string, unknown>> = {}): void => {
      const { reason } = fields;
      if (typeof reason === "string" && /unreachable|unavailable|refused|not-opened/u.test(event)) {
        last = /EOF|closed|unauthori[sz]ed/iu.test(reason)
          ? "it closes the connection, as it does for an invite that has ended or was revoked"
          : reason;
      }
      logger[level](event, fields);
    };
  return {
    logger: { ...logger, debug: note("debug"), info: note("info"), warn: note("warn") },
    last: () => last,
  };
}

/**
 * Joins a space: returns it with all acts that a contact knows and the new device's grant, which the contact has
 * taken in. Throws `UNREACHABLE` when no contact has in time, `POLICY_REFUSED` when the invite was revoked or has
 * ended, `ABORTED` when called off, and what `ways` throw.
 */
export async function joinThrough(
  options: JoinOptions,
  ways: JoinWays,
  deps: NodeDeps,
): Promise<Space> {
  const { invitation, deviceSeed, timeoutMs, onProgress } = options;
  await using stack = new AsyncDisposableStack();
  const { logger, last } = remembering(deps.logger);
  const own: NodeDeps = { ...deps, logger };
  const connect = (identity: JoinIdentity): readonly Transport[] => {
    const transports = ways.connect(identity, own);
    for (const transport of transports) stack.defer(async () => transport.stop());
    return transports;
  };
  const { replica, device, verifier } = await ways.open(own, stack);
  const overdue = Promise.withResolvers<never>();
  const timer = setTimeout(() => {
    overdue.reject(noContact(invitation, last()));
  }, timeoutMs);
  // Nobody may be waiting for it in the moment when it comes.
  overdue.promise.catch(() => undefined);
  const callOff = (): void => {
    overdue.reject(new MeshError("ABORTED", "the join was called off"));
  };
  options.signal?.addEventListener("abort", callOff, { once: true });
  if (options.signal?.aborted === true) callOff();
  const known = contactsByDevice(invitation);
  try {
    const asInvite = { seed: invitation.seed, device, verifier };
    const invited = connect(asInvite);
    const { sync, stop } = startSync(replica, own, {
      relay: "tell",
      admits: (remote) => known.has(remote),
    });
    stack.defer(stop);
    for (const transport of invited) {
      await transport.start((channel) => {
        const contact = known.get(channel.remote.device);
        if (contact !== undefined) onProgress?.({ step: "connected", contact });
        void sync.run(channel);
      });
    }
    await Promise.race([grantItself(replica, options, own), overdue.promise]);
    const newDevice = { seed: deviceSeed, device: createDeviceSigner(deviceSeed), verifier };
    const admitted = takenIn(connect(newDevice), known);
    const contact = await Promise.race([admitted, overdue.promise]);
    onProgress?.({ step: "admitted", contact });
    return replica.space;
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener("abort", callOff);
  }
}

const contactsByDevice = ({ contacts }: Invitation): ReadonlyMap<string, Contact> =>
  new Map(contacts.map((contact) => [contact.device, contact]));

/** Waits for the invite's act and signs the device's grant under it. */
async function grantItself(replica: Replica, options: JoinOptions, deps: NodeDeps): Promise<void> {
  const { invitation, deviceSeed, onProgress } = options;
  await whenRecords(replica, () => replica.space.acts.some(({ id }) => id === invitation.act));
  const { space } = replica;
  const device = parseDeviceKey(toHex(createDeviceSigner(deviceSeed).publicKey));
  const joined = acceptInvite(space, invitation.seed, device, deps.clock.now());
  const before = new Set(space.acts.map(({ id }) => id));
  const acts = joined.acts
    .filter(({ id }) => !before.has(id))
    .map(({ record }) => encodeSignedRecord(record));
  const { refused } = await replica.addRecords({ acts });
  const [refusal] = refused;
  if (refusal !== undefined) throw new MeshError("POLICY_REFUSED", refusal.message);
  onProgress?.({ step: "granted", acts: space.acts.length });
}

/** The contact that first talks to the new device: it does so only once it has its grant. */
async function takenIn(
  transports: readonly Transport[],
  known: ReadonlyMap<string, Contact>,
): Promise<Contact> {
  const { promise, resolve } = Promise.withResolvers<Contact>();
  const listen = async (channel: Channel): Promise<void> => {
    const contact = known.get(channel.remote.device);
    for await (const _ of channel.receive()) {
      if (contact !== undefined) resolve(contact);
      break;
    }
    await channel.close("joined");
  };
  for (const transport of transports) {
    await transport.start((channel) => {
      // A channel that breaks is dialled again.
      listen(channel).catch(() => undefined);
    });
  }
  return promise;
}

function noContact({ contacts }: Invitation, last: string): MeshError {
  const where = contacts.map(({ address }) => address).join(", ");
  const why = last === "" ? "" : ` (${last})`;
  return new MeshError(
    "UNREACHABLE",
    `no contact of the invite took this device in: ${where}${why}`,
    {
      field: "invite",
      remedy:
        "check that one runs and can be reached from here, that this machine's clock is right, and that the invite has not ended and was not revoked",
    },
  );
}
