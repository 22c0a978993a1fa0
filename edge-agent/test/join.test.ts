// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: whoever has an invite's token becomes a member at a running agent, and nobody else does.
 * Method: real agents, stores and ports in this process.
 */
import { join } from "node:path";
import { encodeSignedRecord } from "@ctxmesh/codec";
import { createDeviceSigner } from "@ctxmesh/crypto";
import { createAgent, joinSpace } from "@ctxmesh/edge-agent";
import type { Agent, JoinStep } from "@ctxmesh/edge-agent";
import { createSpace, issueGrant, issueInvite, revokeDevice } from "@ctxmesh/membership";
import type { Invitation, Space } from "@ctxmesh/membership";
import { parseDeviceKey, toHex } from "@ctxmesh/model";
import type { Channel, DeviceKey } from "@ctxmesh/model";
import { systemClock, systemRandom } from "@ctxmesh/service";
import { encodeMessage } from "@ctxmesh/sync";
import { createRecordingLogger, silentLogger, tempDir, waitFor } from "@ctxmesh/testing";
import type { RecordingLogger, TempDir } from "@ctxmesh/testing";
import { createLibp2pTransport } from "@ctxmesh/transport-libp2p";
import { afterEach, beforeEach, describe, expect, test } from "vitest";

const deps = { clock: systemClock, random: systemRandom, logger: silentLogger };
const seedOf = (n: number): Uint8Array => new Uint8Array(32).fill(n);
const keyOf = (n: number): DeviceKey =>
  parseDeviceKey(toHex(createDeviceSigner(seedOf(n)).publicKey));
const [CREATOR, INVITE, MEMBER] = [1, 9, 3];
const creator = createDeviceSigner(seedOf(CREATOR));
const now = systemClock.now();
const HOUR_MS = 3_600_000;

const founded = createSpace({ name: "plant", creator, now: now - HOUR_MS, random: systemRandom });
const granted = [CREATOR, MEMBER].reduce(
  (space, n) =>
    issueGrant(space, creator, {
      device: keyOf(n),
      service: "agent",
      role: "write",
      notBefore: now - HOUR_MS,
    }),
  founded,
);
const inviteUntil = (notAfter: number): Space =>
  issueInvite(granted, creator, {
    key: keyOf(INVITE),
    service: "agent",
    role: "write",
    now: now - HOUR_MS,
    notAfter,
  });
const invited = inviteUntil(now + HOUR_MS);

let dir: TempDir;
let cleanup: AsyncDisposableStack;
let logger: RecordingLogger;
beforeEach(async () => {
  dir = await tempDir();
  cleanup = new AsyncDisposableStack();
  cleanup.defer(async () => dir.remove());
  logger = createRecordingLogger();
});
afterEach(async () => cleanup.disposeAsync());

/** The agent of device 1, which is also the creator. */
async function start(space: Space = invited, name = "agent"): Promise<Agent> {
  const agent = await createAgent(
    {
      version: "0.0.0",
      space,
      deviceSeed: seedOf(CREATOR),
      storePath: join(dir.path, name),
      socketPath: join(dir.path, `${name}.sock`),
      mesh: { listen: ["/ip4/127.0.0.1/tcp/0"], peers: [] },
      hubs: [],
      sources: [],
    },
    { ...deps, logger },
  );
  cleanup.defer(async () => agent.stop());
  return agent;
}

const invitationTo = (agent: Agent, device: DeviceKey = keyOf(CREATOR)): Invitation => ({
  space: founded,
  act: invited.invites.get(keyOf(INVITE))?.id ?? inviteId(),
  seed: seedOf(INVITE),
  key: keyOf(INVITE),
  contacts: agent
    .addresses()
    .map((address) => ({ address: address.replace(/\/p2p\/.*$/u, ""), device })),
});

const inviteId = (): never => {
  throw new Error("no invite");
};

const joinAs = (
  n: number,
  invitation: Invitation,
  more: {
    readonly timeoutMs?: number;
    readonly signal?: AbortSignal;
    readonly steps?: JoinStep[];
  } = {},
): Promise<Space> =>
  joinSpace(
    {
      invitation,
      deviceSeed: seedOf(n),
      storePath: join(dir.path, `join-${String(n)}`),
      timeoutMs: more.timeoutMs ?? 15_000,
      ...(more.signal === undefined ? {} : { signal: more.signal }),
      onProgress: (step) => more.steps?.push(step),
    },
    deps,
  );

describe("joining", () => {
  test("ends with the contact's acts and the device's grant, which the contact has as well", async () => {
    const agent = await start();
    const steps: JoinStep[] = [];
    const space = await joinAs(20, invitationTo(agent), { steps });
    expect(steps.map(({ step }) => step)).toEqual(["connected", "granted", "admitted"]);
    expect(space.grants.get(keyOf(20))).toMatchObject([
      { role: "write", service: "agent", issuer: keyOf(INVITE) },
    ]);
    const { members } = agent.service.membership();
    expect(members.map(({ device }) => device)).toContain(keyOf(20));
    expect(space.acts).toHaveLength(invited.acts.length + 1);
  });

  test("works for several devices with one token at the same moment", async () => {
    const agent = await start();
    const invitation = invitationTo(agent);
    // The invite's key can hold one connection at a time; the others take their turn.
    await Promise.all([21, 22].map((n) => joinAs(n, invitation, { timeoutMs: 25_000 })));
    const { invites } = agent.service.membership();
    expect(new Set(invites[0]?.joined)).toEqual(new Set([keyOf(21), keyOf(22)]));
  });

  test("is refused by a contact whose device is another than the token says", async () => {
    const agent = await start();
    await expect(
      joinAs(23, invitationTo(agent, keyOf(MEMBER)), { timeoutMs: 1_000 }),
    ).rejects.toMatchObject({ code: "UNREACHABLE", field: "invite" });
    expect(agent.service.membership().members).toHaveLength(2);
  });

  test.each([
    ["has ended", inviteUntil(now - 1)],
    [
      "was revoked",
      revokeDevice(invited, creator, { device: keyOf(INVITE), heads: [], reason: "", now }),
    ],
    ["was never issued", granted],
  ])("with an invite that %s gets nowhere", async (_, space) => {
    const agent = await start(space);
    const known = agent.service.membership().digest;
    await expect(joinAs(24, invitationTo(agent), { timeoutMs: 1_500 })).rejects.toMatchObject({
      code: "UNREACHABLE",
      remedy: expect.stringContaining("was not revoked") as string,
    });
    expect(agent.service.membership().digest).toBe(known);
    expect(logger.entries).toContainEqual(
      expect.objectContaining({ event: "peer.refused" }) as unknown,
    );
  });

  test("can be called off", async () => {
    const agent = await start(granted);
    const off = new AbortController();
    const joining = joinAs(25, invitationTo(agent), { signal: off.signal });
    off.abort();
    await expect(joining).rejects.toMatchObject({ code: "ABORTED" });
  });
});

/** A member that says what the test wants; counts its channels. */
async function connectAs(
  n: number,
  agent: Agent,
  onChannel: (channel: Channel) => void,
): Promise<void> {
  const transport = createLibp2pTransport({
    ...deps,
    seed: seedOf(n),
    listen: [],
    peers: agent.addresses(),
    space: founded.id,
    isMember: () => true,
  });
  cleanup.defer(async () => transport.stop());
  await transport.start(onChannel);
}

const peersOf = async (agent: Agent): Promise<readonly string[]> =>
  (await agent.service.status()).peers.map(({ device }) => device);

describe("the door of an agent", () => {
  test("closes behind a device that is revoked while it is connected", async () => {
    const agent = await start();
    const other = await createAgent(
      {
        version: "0.0.0",
        space: granted,
        deviceSeed: seedOf(MEMBER),
        storePath: join(dir.path, "other"),
        socketPath: join(dir.path, "other.sock"),
        mesh: { listen: [], peers: agent.addresses() },
        hubs: [],
        sources: [],
      },
      deps,
    );
    cleanup.defer(async () => other.stop());
    const bound = { timeoutMs: 10_000, what: "the connection" };
    const digests = async (): Promise<readonly string[]> =>
      Promise.all(
        [agent, other].map(async ({ service }) => (await service.status()).membership.digest),
      );
    await waitFor(async () => {
      const [one, two] = await digests();
      return one === two && (await peersOf(agent)).includes(keyOf(MEMBER));
    }, bound);
    const revoked = revokeDevice(invited, creator, {
      device: keyOf(MEMBER),
      heads: [],
      reason: "stolen",
      now,
    });
    const act = revoked.acts.find(({ act: { kind } }) => kind === "revoke");
    const records = act === undefined ? [] : [encodeSignedRecord(act.record)];
    expect(await agent.service.addActs(records)).toEqual({ added: 1, refused: [] });
    await waitFor(async () => (await peersOf(agent)).length === 0, { ...bound, what: "the cut" });
    await waitFor(async () => (await other.service.status()).membership.revoked === 1, {
      ...bound,
      what: "the news at the device",
    });
    const cut = logger.entries.length;
    await waitFor(() => logger.entries.slice(cut).some(({ event }) => event === "peer.refused"), {
      ...bound,
      what: "its next attempt to be refused",
    });
    expect(await peersOf(agent)).toEqual([]);
  });

  test("is shut for a while to a member that goes on sending what has to be refused", async () => {
    const agent = await start();
    const zeros = new Uint8Array(16);
    let channels = 0;
    await connectAs(MEMBER, agent, (channel) => {
      channels++;
      const hello = { type: "hello", space: founded.id, digest: zeros, records: zeros } as const;
      const talk = async (): Promise<void> => {
        await channel.send(encodeMessage(hello));
        for (let i = 0; i < 64; i++) {
          await channel.send(encodeMessage({ type: "push", batch: Uint8Array.of(1, 2, i) }));
        }
      };
      talk().catch(() => undefined);
    });
    const bound = { timeoutMs: 20_000, what: "the door to be shut" };
    await waitFor(() => logger.entries.some(({ event }) => event === "peer.refused"), bound);
    expect(channels).toBe(3);
    expect(await peersOf(agent)).toEqual([]);
  });
});
