// SPDX-License-Identifier: Apache-2.0
/** TCP connections out of a recording by tcpdump. */

/** One connection: who dialled, and the first bytes of each direction, in order. */
export interface Conversation {
  readonly client: string;
  readonly server: string;
  readonly fromClient: Buffer;
  readonly fromServer: Buffer;
}

const FILE_HEADER = 24;
const PACKET_HEADER = 16;
const MAGIC = 0xa1_b2_c3_d4;
const ETHERNET_HEADER = 14;
const IPV4 = 0x0800;
const TCP = 6;
const SYN = 0x02;
const ACK = 0x10;

/** A segment of TCP (RFC 9293, 3.1). */
interface Packet {
  readonly from: string;
  readonly to: string;
  readonly seq: number;
  readonly flags: number;
  readonly data: Buffer;
}

/** Reads one frame; undefined for what is not TCP over IPv4 over Ethernet. */
function packetOf(frame: Buffer): Packet | undefined {
  if (frame.length < ETHERNET_HEADER + 40 || frame.readUInt16BE(12) !== IPV4) return undefined;
  const ip = frame.subarray(ETHERNET_HEADER);
  if (ip[9] !== TCP) return undefined;
  const ipHeader = ((ip[0] ?? 0) & 0x0f) * 4;
  const tcp = ip.subarray(ipHeader, ip.readUInt16BE(2));
  const address = (at: number): string => [...ip.subarray(at, at + 4)].join(".");
  return {
    from: `${address(12)}:${String(tcp.readUInt16BE(0))}`,
    to: `${address(16)}:${String(tcp.readUInt16BE(2))}`,
    seq: tcp.readUInt32BE(4),
    flags: tcp[13] ?? 0,
    data: tcp.subarray(((tcp[12] ?? 0) >> 4) * 4),
  };
}

/** The packets of a file in tcpdump's classic form, of this machine's byte order; a last one that was cut off is left out. */
function* packetsIn(file: Buffer): Generator<Packet> {
  if (file.length < FILE_HEADER || file.readUInt32LE(0) !== MAGIC) return;
  let at = FILE_HEADER;
  while (at + PACKET_HEADER <= file.length) {
    const size = file.readUInt32LE(at + 8);
    const frame = file.subarray(at + PACKET_HEADER, at + PACKET_HEADER + size);
    at += PACKET_HEADER + size;
    const packet = frame.length === size ? packetOf(frame) : undefined;
    if (packet !== undefined) yield packet;
  }
}

/** What a direction has said from its first byte on, without gaps; what was sent twice counts once. */
function streamOf(packets: readonly Packet[], start: number): Buffer {
  const parts = new Map(packets.map(({ seq, data }) => [(seq - start) >>> 0, data]));
  const bytes: Buffer[] = [];
  let at = 0;
  for (const [offset, data] of [...parts].toSorted(([a], [b]) => a - b)) {
    if (offset > at) break;
    bytes.push(data.subarray(at - offset));
    at = Math.max(at, offset + data.length);
  }
  return Buffer.concat(bytes);
}

/** The connections whose beginning is in the recording, in order. */
export function conversationsIn(file: Buffer): readonly Conversation[] {
  const packets = [...packetsIn(file)];
  const wayOf = (from: string, to: string): readonly Packet[] =>
    packets.filter((packet) => packet.from === from && packet.to === to);
  const found: Conversation[] = [];
  for (const { from, to, seq, flags } of packets) {
    if ((flags & (SYN | ACK)) !== SYN) continue;
    const back = wayOf(to, from);
    const answer = back.find((packet) => (packet.flags & (SYN | ACK)) === (SYN | ACK));
    if (answer === undefined) continue;
    const data = (way: readonly Packet[]): Packet[] =>
      way.filter((packet) => packet.data.length > 0);
    found.push({
      client: from,
      server: to,
      fromClient: streamOf(data(wayOf(from, to)), seq + 1),
      fromServer: streamOf(data(back), answer.seq + 1),
    });
  }
  return found;
}
