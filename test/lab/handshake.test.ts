// SPDX-License-Identifier: Apache-2.0
/** Goal: what the lab says of a recorded handshake is what the two ends agreed on. */
import { once } from "node:events";
import { connect, createServer } from "node:tls";
import type { AddressInfo } from "node:net";
import { createLinkEmulator, tempDir, waitFor } from "@ctxmesh/testing";
import { describe, expect, test } from "vitest";
import { startEmulatedMesh } from "../../scripts/lab/emulated.ts";
import { conversationsIn } from "../../scripts/lab/show/packets.ts";
import { groupName, readHandshake } from "../../scripts/lab/show/tls-hello.ts";

/** Both directions of a TLS connection between Node's own two ends, with one group; the server has no certificate. */
async function recorded(group: string, serverGroups = group): Promise<readonly [Buffer, Buffer]> {
  const chunks = { ab: [] as Uint8Array[], ba: [] as Uint8Array[] };
  await using link = createLinkEmulator({ onData: (way, bytes) => chunks[way].push(bytes) });
  const psk = { psk: Buffer.from("01".repeat(16), "hex"), identity: "lab" };
  const server = createServer({
    minVersion: "TLSv1.3",
    ecdhCurve: serverGroups,
    ciphers: "TLS_AES_128_GCM_SHA256",
    pskCallback: () => psk.psk,
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const near = await link.forward({ target: { host: "127.0.0.1", port } });
  const socket = connect({
    ...near,
    minVersion: "TLSv1.3",
    ecdhCurve: group,
    ciphers: "TLS_AES_128_GCM_SHA256",
    pskCallback: () => psk,
    checkServerIdentity: () => undefined,
  });
  await once(socket, "secureConnect");
  socket.destroy();
  server.close();
  return [Buffer.concat(chunks.ab), Buffer.concat(chunks.ba)];
}

/** A line of multistream-select. */
const line = (text: string): Buffer => Buffer.from([text.length, ...Buffer.from(text)]);

describe("the hellos of a connection", () => {
  test.each([
    ["X25519", 0x001d, 32],
    ["X25519MLKEM768", 0x11ec, 1_120],
  ])("with %s say so", async (group, code, shareBytes) => {
    const [client, server] = await recorded(group);
    expect(readHandshake(client, server)).toEqual({ offered: [code], group: code, shareBytes });
    expect(groupName(code)).toBe(`${group} (0x${code.toString(16).padStart(4, "0")})`);
  });

  test("are read behind the lines of multistream-select", async () => {
    const [client, server] = await recorded("X25519");
    const before = Buffer.concat([line("/multistream/1.0.0\n"), line("/tls/1.0.0\n")]);
    const [a, b] = [client, server].map((bytes) => Buffer.concat([before, bytes]));
    expect(readHandshake(a as Buffer, b as Buffer).group).toBe(0x001d);
  });

  test("are refused when they are cut off, or none", async () => {
    const [client, server] = await recorded("X25519MLKEM768");
    expect(() => readHandshake(client.subarray(0, 700), server)).toThrow(RangeError);
    expect(() => readHandshake(client, server.subarray(0, 90))).toThrow(RangeError);
    expect(() => readHandshake(server, client)).toThrow(RangeError);
    expect(() => readHandshake(Buffer.from("noise"), server)).toThrow(RangeError);
  });
});

/** A packet as tcpdump writes it. */
function packet(from: number, to: number, seq: number, flags: number, data: string): Buffer {
  const tcp = Buffer.alloc(20);
  tcp.writeUInt16BE(from, 0);
  tcp.writeUInt16BE(to, 2);
  tcp.writeUInt32BE(seq >>> 0, 4);
  tcp[12] = 5 << 4;
  tcp[13] = flags;
  const ip = Buffer.alloc(20);
  ip[0] = 0x45;
  ip.writeUInt16BE(40 + data.length, 2);
  ip[9] = 6;
  ip.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
  const ethernet = Buffer.alloc(14);
  ethernet.writeUInt16BE(0x0800, 12);
  const frame = Buffer.concat([ethernet, ip, tcp, Buffer.from(data)]);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(frame.length, 8);
  header.writeUInt32LE(frame.length, 12);
  return Buffer.concat([header, frame]);
}

/** Source and target swap, and so do the ports that stand for them here. */
const back = (one: Buffer): Buffer => {
  const copy = Buffer.from(one);
  copy.set([10, 0, 0, 2, 10, 0, 0, 1], 16 + 14 + 12);
  return copy;
};

describe("a recording of packets", () => {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1_b2_c3_d4, 0);
  const start = 0xff_ff_ff_fe;
  const file = Buffer.concat([
    header,
    packet(9, 8, 1, 0x10, "of an older connection"),
    packet(1, 2, start, 0x02, ""),
    back(packet(2, 1, 500, 0x12, "")),
    packet(1, 2, start + 3, 0x18, "llo"),
    packet(1, 2, start + 1, 0x18, "hel"),
    packet(1, 2, start + 1, 0x18, "hel"),
    packet(1, 2, start + 9, 0x18, "behind a gap"),
    back(packet(2, 1, 501, 0x18, "yes")),
    packet(5, 2, 7, 0x02, "unanswered"),
  ]);

  test("gives each connection that it saw begin, in order, once, up to the first gap", () => {
    expect(conversationsIn(file)).toEqual([
      {
        client: "10.0.0.1:1",
        server: "10.0.0.2:2",
        fromClient: Buffer.from("hello"),
        fromServer: Buffer.from("yes"),
      },
    ]);
  });

  test("may end inside a packet, or be none", () => {
    expect(conversationsIn(file.subarray(0, -1))).toHaveLength(1);
    expect(conversationsIn(Buffer.from("no recording"))).toEqual([]);
  });
});

test("two agents agree on the hybrid group, as their own status says", async () => {
  await using folder = await tempDir();
  const heard = { ab: [] as Uint8Array[], ba: [] as Uint8Array[] };
  await using mesh = await startEmulatedMesh({
    folder: folder.path,
    agents: 2,
    pairs: [[0, 1]],
    settings: {},
    seed: 1,
    onData: (way, bytes) => heard[way].push(bytes),
  });
  await waitFor(async () => (await mesh.degrees()).every((degree) => degree === 1), {
    timeoutMs: 15_000,
    what: "a connection",
  });
  const { group } = readHandshake(Buffer.concat(heard.ba), Buffer.concat(heard.ab));
  const [status] = await Promise.all(mesh.nodes.map(async (node) => node.status()));
  expect(groupName(group)).toContain(status?.peers[0]?.security?.keyExchange);
  expect(group).toBe(0x11ec);
});
