// SPDX-License-Identifier: Apache-2.0
import { parseSpaceId } from "@ctxmesh/model";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { HandshakeOptions } from "../src/handshake.ts";
import { Handshake } from "../src/handshake.ts";
import { newDevice, random, SPACE, verifier } from "./parties.ts";

const agent = newDevice();
const hub = newDevice();

const client = (options: Partial<HandshakeOptions> = {}): Handshake =>
  new Handshake({
    role: "client",
    device: agent,
    space: SPACE,
    accepts: (device) => device === hub.key,
    verifier,
    random,
    ...options,
  });

const server = (options: Partial<HandshakeOptions> = {}): Handshake =>
  new Handshake({
    role: "server",
    device: hub,
    space: SPACE,
    accepts: (device) => device === agent.key,
    verifier,
    random,
    ...options,
  });

/** Runs a handshake to its end; `tamper` may change each message on its way. Returns whom the ends think they talk to. */
function run(
  ends: { readonly client: Handshake; readonly server: Handshake },
  tamper: (message: Uint8Array, index: number) => Uint8Array = (message) => message,
): { server: string | undefined; client: string | undefined } {
  const peers: { server: string | undefined; client: string | undefined } = {
    server: undefined,
    client: undefined,
  };
  const queue = ends.client.start().map((message) => ({ to: "server" as const, message }));
  const flight: { to: "server" | "client"; message: Uint8Array }[] = queue;
  for (let index = 0; flight.length > 0; index++) {
    const next = flight.shift();
    if (next === undefined) break;
    const { send, device } = ends[next.to].receive(tamper(next.message, index));
    peers[next.to] ??= device;
    const to = next.to === "server" ? "client" : "server";
    flight.push(...send.map((message) => ({ to, message }) as const));
  }
  return peers;
}

const refused = (reason: RegExp | string): unknown =>
  expect.objectContaining({ code: "AUTH_FAILED", message: expect.stringMatching(reason) });

describe("handshake", () => {
  test("both ends learn the other's device", () => {
    expect(run({ client: client(), server: server() })).toEqual({
      server: agent.key,
      client: hub.key,
    });
  });

  test("hello, proof and statement are laid out as documented", () => {
    const flight: Uint8Array[] = [];
    run({ client: client(), server: server() }, (message) => {
      flight.push(message);
      return message;
    });
    const [clientHello = new Uint8Array(), serverHello = new Uint8Array()] = flight;
    const space = Buffer.from(SPACE, "hex");
    const head = Buffer.concat([Uint8Array.of(1, 1), space, agent.publicKey]);
    expect(Buffer.from(clientHello.subarray(0, 66))).toEqual(head);
    const statement = (role: string): Buffer =>
      Buffer.concat([
        Buffer.from(`ctxmesh/ws-auth/v1\n${role}`),
        space,
        agent.publicKey,
        hub.publicKey,
        clientHello.subarray(66),
        serverHello.subarray(66),
      ]);
    expect(statement("C")).toHaveLength(180);
    for (const [index, key, role, otherRole] of [
      [2, hub.publicKey, "S", "C"],
      [3, agent.publicKey, "C", "S"],
    ] as const) {
      const proof = flight[index] ?? new Uint8Array();
      expect(proof[0]).toBe(2);
      expect(verifier.verify(key, statement(role), proof.subarray(1))).toBe(true);
      expect(verifier.verify(key, statement(otherRole), proof.subarray(1))).toBe(false);
    }
  });

  test("any change of any byte of any message is refused", () => {
    fc.assert(
      fc.property(fc.nat(3), fc.nat(97), fc.integer({ min: 1, max: 255 }), (index, at, mask) => {
        const flip = (message: Uint8Array, i: number): Uint8Array => {
          if (i !== index) return message;
          const changed = message.slice();
          const position = at % message.length;
          changed[position] = (changed[position] ?? 0) ^ mask;
          return changed;
        };
        expect(() => run({ client: client(), server: server() }, flip)).toThrow(refused(/./u));
      }),
    );
  });

  test("a message of any other length is refused", () => {
    const lengths = [98, 98, 65, 65];
    const other = fc
      .tuple(fc.nat(3), fc.nat(200))
      .filter(([index, length]) => length !== lengths[index]);
    fc.assert(
      fc.property(other, ([index, length]) => {
        const resize = (message: Uint8Array, i: number): Uint8Array => {
          if (i !== index) return message;
          const resized = new Uint8Array(length);
          resized.set(message.subarray(0, length));
          return resized;
        };
        expect(() => run({ client: client(), server: server() }, resize)).toThrow(
          refused("malformed"),
        );
      }),
    );
  });

  test("a hub tells nothing to whom it does not accept", () => {
    const [hello = new Uint8Array()] = client().start();
    const stranger = newDevice();
    const [strangersHello = new Uint8Array()] = client({ device: stranger }).start();
    expect(server().start()).toEqual([]);
    expect(() => server().receive(strangersHello)).toThrow(
      refused(`not a member: ${stranger.key}`),
    );
    const space = parseSpaceId("5b".repeat(32));
    expect(() => server({ space }).receive(hello)).toThrow(refused("another space"));
  });

  test("an agent gives no proof to a hub it does not know", () => {
    const other = newDevice();
    expect(() => run({ client: client(), server: server({ device: other }) })).toThrow(
      refused(`not a hub of this space: ${other.key}`),
    );
  });

  test("a proof is worthless when it is reflected", () => {
    const attacked = server();
    const [hello = new Uint8Array()] = client().start();
    const [, proof = new Uint8Array()] = attacked.receive(hello).send;
    expect(() => attacked.receive(proof)).toThrow(refused("does not verify"));
    // Nor can the attacker pass for the hub itself, mirroring its every message.
    const mirrored = client({ device: hub, accepts: () => true });
    const [own = new Uint8Array()] = mirrored.start();
    expect(() => server({ accepts: () => true }).receive(own)).toThrow(refused("our own"));
    expect(() => mirrored.receive(own)).toThrow(refused("our own"));
  });

  test("a proof is worthless a second time, and towards another hub", () => {
    const recorded: Uint8Array[] = [];
    run({ client: client(), server: server() }, (message) => {
      recorded.push(message);
      return message;
    });
    const [hello = new Uint8Array(), , , proof = new Uint8Array()] = recorded;
    const otherHub = newDevice();
    for (const attacked of [server(), server({ device: otherHub })]) {
      attacked.receive(hello);
      expect(() => attacked.receive(proof)).toThrow(refused("does not verify"));
    }
  });

  test("a member that is removed during the handshake is refused", () => {
    let member = true;
    const attacked = server({ accepts: () => member });
    const remove = (message: Uint8Array, index: number): Uint8Array => {
      if (index === 3) member = false;
      return message;
    };
    expect(() => run({ client: client(), server: attacked }, remove)).toThrow(
      refused("not a member"),
    );
  });

  test("a message after the end is refused", () => {
    const ends = { client: client(), server: server() };
    run(ends);
    expect(() => ends.server.receive(new Uint8Array(65))).toThrow(refused("after the end"));
  });
});
