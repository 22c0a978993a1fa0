// SPDX-License-Identifier: Apache-2.0
/** Parsers of /proc against texts captured from machines, and against everything else. */
import { readFileSync } from "node:fs";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseCpuTimes, parseLoad, parseMemory, parseNetwork } from "../src/sources/proc.ts";

const STAT = `cpu  10132153 290696 3084719 46828483 16683 0 25195 0 175628 0
cpu0 1393280 32966 572056 13343292 6130 0 17875 0 23933 0
intr 1462898 0 0
ctxt 115315
`;

const MEMINFO = `MemTotal:       24684096 kB
MemFree:        24237212 kB
MemAvailable:   24354172 kB
Buffers:            1908 kB
HugePages_Total:       0
`;

const NET_DEV = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0: 265774957    8524    0    0    0     0          0         0   653010    4967    0    0    0     0       0          0
wlan0:1000 1 0 0 0 0 0 0 2000 1 0 0 0 0 0 0
`;

describe("captured texts", () => {
  test("CPU time counts neither idle nor I/O wait as busy, and guest time once", () => {
    const total = 10_132_153 + 290_696 + 3_084_719 + 46_828_483 + 16_683 + 25_195;
    expect(parseCpuTimes(STAT)).toEqual({ total, busy: total - 46_828_483 - 16_683 });
  });

  test("memory is in bytes", () => {
    const expected = { total: 24_684_096 * 1024, available: 24_354_172 * 1024 };
    expect(parseMemory(MEMINFO)).toEqual(expected);
  });

  test("load is three numbers", () => {
    expect(parseLoad("0.02 0.15 1.01 1/92 8517\n")).toEqual([0.02, 0.15, 1.01]);
  });

  test("network bytes are summed without the loopback, with or without a space after the colon", () => {
    expect(parseNetwork(NET_DEV)).toEqual({ received: 265_775_957, sent: 655_010 });
  });
});

test("any other text gives undefined or plain numbers, never NaN", () => {
  const noise = fc.oneof(fc.string(), fc.constantFrom(STAT, MEMINFO, NET_DEV, "cpu 1 2 x 4\n"));
  fc.assert(
    fc.property(noise, fc.nat(), fc.nat(), (text, from, length) => {
      const start = from % (text.length + 1);
      const cut = text.slice(0, start) + text.slice(start + (length % 40));
      for (const found of [
        parseCpuTimes(cut),
        parseMemory(cut),
        parseLoad(cut),
        parseNetwork(cut),
      ]) {
        for (const value of Object.values(found ?? {})) expect(value).toBeGreaterThanOrEqual(0);
      }
    }),
  );
});

const read = (name: string): string => readFileSync(`/proc/${name}`, "utf8");

test.runIf(process.platform === "linux")("this machine's own texts are understood", () => {
  expect(parseCpuTimes(read("stat"))?.total).toBeGreaterThan(0);
  expect(parseMemory(read("meminfo"))?.total).toBeGreaterThan(0);
  expect(parseLoad(read("loadavg"))).toHaveLength(3);
  expect(parseNetwork(read("net/dev"))).toBeDefined();
});
