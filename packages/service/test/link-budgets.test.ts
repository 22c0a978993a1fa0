// SPDX-License-Identifier: Apache-2.0
import type { Remote } from "@ctxmesh/model";
import { budgetsOf, parseRate } from "@ctxmesh/service";
import { describe, expect, test } from "vitest";

const DEVICE = `3fa9c21b${"0".repeat(56)}`;
const remote = (device: string, address: string): Remote => ({
  device,
  address,
  direction: "outbound",
  role: "agent",
});

describe("a rate", () => {
  test.each([
    ["8kbit", 1_000],
    ["256kbit", 32_000],
    ["2mbit", 250_000],
    ["1gbit", 125_000_000],
    ["unlimited", undefined],
  ])("of %s is in bytes per second", (text, rate) => {
    expect(parseRate(text)).toBe(rate);
  });

  test.each([
    "",
    "7kbit",
    "0kbit",
    "256",
    "256kb",
    "256 kbit",
    "-1kbit",
    "1e3kbit",
    "2Mbit",
    "none",
  ])("is refused when it is %j", (text) => {
    expect(() => parseRate(text)).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", field: "links" }) as Error,
    );
  });
});

describe("a link's budget", () => {
  const budget = budgetsOf({
    default: "1mbit",
    "3fa9c21b": "256kbit",
    "/ip4/10.*": "unlimited",
    "/ip4/10.8.*": "8kbit",
    "wss://hub.example/*": "512kbit",
  });

  test.each([
    [DEVICE, "/ip4/10.1.2.3/tcp/4401", 32_000],
    ["ab".repeat(32), "/ip4/10.8.2.3/tcp/4401", undefined],
    ["ab".repeat(32), "wss://hub.example/mesh", 64_000],
    ["ab".repeat(32), "/ip4/192.0.2.1/tcp/4401", 125_000],
    // A dot is a dot.
    ["ab".repeat(32), "wss://hubxexample/mesh", 125_000],
  ])(
    "is that of the device first, then of the first address that matches",
    (device, address, rate) => {
      expect(budget(remote(device, address))).toBe(rate);
    },
  );

  test("is none where nothing is said", () => {
    expect(budgetsOf({})(remote(DEVICE, "memory:1"))).toBeUndefined();
  });

  test("is refused with the configuration when one of the rates is wrong", () => {
    expect(() => budgetsOf({ default: "fast" })).toThrow(/not a rate/u);
  });
});
