// SPDX-License-Identifier: Apache-2.0
/** Frames of a few devices, the same in Node and in a page. */
import { encodeFrame } from "@ctxmesh/facts";
import type { ChainId, FactFrame } from "@ctxmesh/facts";
import { parseDeviceKey, parseIncarnationId } from "@ctxmesh/model";
import type { Hlc } from "@ctxmesh/model";

/** A frame, and its bytes. */
export interface DeviceFrame {
  readonly chain: ChainId;
  readonly frame: FactFrame;
  readonly bytes: Uint8Array;
}

/** 50 frames of 100 facts by five devices. */
export function deviceFrames(): readonly DeviceFrame[] {
  return Array.from({ length: 50 }, (_, n) => {
    const device = n % 5;
    const chain = {
      writer: parseDeviceKey(String(device + 1).repeat(64)),
      incarnation: parseIncarnationId(String(device + 1).repeat(32)),
    };
    const from = Math.floor(n / 5) * 100;
    const records = Array.from({ length: 100 }, (_unused, i) => ({
      key: `line-\u{1F980}/s${String((n * 37 + i) % 300)}`,
      seq: from + i + 1,
      hlc: (n * 100 + i + 1) as Hlc,
      valueJson: JSON.stringify({ value: n + i, text: "é".repeat(i % 7) }),
    }));
    const frame = { from, to: from + 100, records };
    return { chain, frame, bytes: encodeFrame(frame) };
  });
}
