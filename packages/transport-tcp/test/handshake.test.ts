// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: both ends come to the values of the vectors, and to nothing with anybody who lacks a key.
 * Method: the vectors, which were checked with another implementation; each of them with each bit of a message changed, another psk, space, version or device.
 */
import { toHex } from "@ctxmesh/model";
import { Handshake, leafPsk } from "@ctxmesh/transport-tcp";
import type { HandshakeOptions } from "@ctxmesh/transport-tcp";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { endOf, newDevice, random, SPACE, verifier } from "./ends.ts";
import { HANDSHAKES, SMALL_ORDER } from "./vectors.ts";

const SECRET = new Uint8Array(32).fill(7);
const client = newDevice();
const server = newDevice();

const clientWith = (options: Partial<HandshakeOptions> = {}): Handshake =>
  new Handshake({
    role: "client",
    device: client,
    space: SPACE,
    psk: () => leafPsk(SECRET, client.publicKey),
    accepts: (device) => device === server.key,
    verifier,
    random,
    ...options,
  });
const serverWith = (options: Partial<HandshakeOptions> = {}): Handshake =>
  new Handshake({
    role: "server",
    device: server,
    space: SPACE,
    psk: (device) => leafPsk(SECRET, device),
    accepts: () => true,
    verifier,
    random,
    ...options,
  });

const psk = (): Uint8Array => new Uint8Array(32);

/** All three messages, as far as nobody refuses one; `tamper` may change each on its way. */
function converse(
  a: Handshake,
  b: Handshake,
  tamper: (message: Uint8Array, index: number) => Uint8Array = (message) => message,
): { readonly device: string; readonly sendKey: Uint8Array; readonly receiveKey: Uint8Array }[] {
  const answer = b.receive(tamper(a.start(), 0));
  const proof = a.receive(tamper(answer.send, 1));
  const end = b.receive(tamper(proof.send, 2));
  return [proof.session, end.session].flatMap((session) => session ?? []);
}

describe.each(HANDSHAKES)("the $name handshake of the vectors", (vector) => {
  const { at } = vector;
  test("has these messages and these keys", () => {
    const leaf = endOf("client", vector);
    const agent = endOf("server", vector);
    expect(toHex(leaf.start())).toBe(toHex(at("hello")));
    const answer = agent.receive(at("hello"));
    expect(toHex(answer.send)).toBe(toHex(at("answer")));
    const { send, session } = leaf.receive(at("answer"));
    expect(toHex(send)).toBe(toHex(at("proof")));
    expect(session).toEqual({
      device: toHex(at("serverDevice")),
      sendKey: at("client data"),
      receiveKey: at("server data"),
    });
    expect(agent.receive(at("proof")).session).toEqual({
      device: toHex(at("clientDevice")),
      sendKey: at("server data"),
      receiveKey: at("client data"),
    });
  });

  test("has the psk that follows from secret and device", () => {
    expect(toHex(leafPsk(at("serverSecret"), at("clientDevice")))).toBe(toHex(at("psk")));
  });

  test("is refused with an ephemeral key of small order, at either end", () => {
    for (const point of SMALL_ORDER) {
      const hello = at("hello");
      hello.set(point, 66);
      expect(() => endOf("server", vector).receive(hello)).toThrow("small order");
      const answer = at("answer");
      answer.set(point, 33);
      expect(() => endOf("client", vector).receive(answer)).toThrow("small order");
    }
  });
});

describe("whoever lacks something comes to nothing", () => {
  test("both ends come to the same, each time to other keys", () => {
    const [first, second] = converse(clientWith(), serverWith());
    expect(first?.device).toBe(server.key);
    expect(second?.device).toBe(client.key);
    expect(first?.sendKey).toEqual(second?.receiveKey);
    expect(first?.receiveKey).toEqual(second?.sendKey);
    expect(first?.sendKey).not.toEqual(first?.receiveKey);
    expect(converse(clientWith(), serverWith())[0]?.sendKey).not.toEqual(first?.sendKey);
  });

  test("a message with any bit changed is refused by who gets it, or by who gets the next one", () => {
    const bit = fc.record({ index: fc.nat(2), at: fc.nat(), mask: fc.nat(7).map((n) => 1 << n) });
    fc.assert(
      fc.property(bit, ({ index, at, mask }) => {
        const tamper = (message: Uint8Array, i: number): Uint8Array =>
          i === index
            ? message.map((byte, j) => (j === at % message.length ? byte ^ mask : byte))
            : message;
        expect(() => converse(clientWith(), serverWith(), tamper)).toThrow(
          expect.objectContaining({ code: "AUTH_FAILED" }),
        );
      }),
      { numRuns: 300 },
    );
  });

  test("of any other length, or behind the end, as well", () => {
    for (const length of [0, 1, 97, 99]) {
      expect(() => serverWith().receive(new Uint8Array(length))).toThrow("wrong length");
    }
    const b = serverWith();
    const a = clientWith();
    const { send } = b.receive(a.start());
    const proof = a.receive(send).send;
    b.receive(proof);
    expect(() => b.receive(proof)).toThrow("wrong length");
  });

  test("without the psk neither end takes the other for what it says", () => {
    expect(() => converse(clientWith({ psk }), serverWith())).toThrow("see the psk");
    const answer = serverWith({ psk }).receive(clientWith().start()).send;
    const b = serverWith();
    const a = clientWith({ psk });
    b.receive(a.start());
    // What a client with the wrong psk would answer, had it not looked.
    expect(() => b.receive(Buffer.concat([Uint8Array.of(3), answer.subarray(-80)]))).toThrow(
      "see the psk",
    );
  });

  test.each([
    ["another space", { space: "5b".repeat(32) as typeof SPACE }, "another space"],
    ["the server's own device", { device: server, accepts: () => true }, "our own device"],
    ["another device's name", { device: { ...client, sign: server.sign } }, "does not verify"],
  ])("a client with %s is refused", (_, options, reason) => {
    expect(() => converse(clientWith(options), serverWith())).toThrow(reason);
  });

  test("who is no member gets no answer, and who ceases to be one meanwhile no session", () => {
    expect(() => serverWith({ accepts: () => false }).receive(clientWith().start())).toThrow(
      "not a member",
    );
    let isMember = true;
    const b = serverWith({ accepts: () => isMember });
    const a = clientWith();
    const proof = a.receive(b.receive(a.start()).send);
    isMember = false;
    expect(() => b.receive(proof.send)).toThrow("not a member");
  });

  test("a proof of one handshake is worthless in another one", () => {
    const proofs = [0, 1].map(() => {
      const b = serverWith();
      const a = clientWith();
      return { b, proof: a.receive(b.receive(a.start()).send).send };
    });
    expect(() => proofs[0]?.b.receive(proofs[1]?.proof ?? new Uint8Array())).toThrow("another key");
  });
});
