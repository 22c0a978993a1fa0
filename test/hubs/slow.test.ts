// SPDX-License-Identifier: Apache-2.0
/**
 * Goal: nobody keeps a hub's door busy by being slow, in whatever way.
 * Method: real sockets at the door of a hub's process, with the limits that it has. `npm run hubs -- slow` is the long form.
 */
import { tempDir, waitFor } from "@ctxmesh/testing";
import { expect, test } from "vitest";
import { Door } from "./slow-sockets.ts";

const SLOW = 180;
const HONEST = 20;
const WAIT_MS = 45_000;

test(
  "slow ones of every way are cut, and honest ones are let in meanwhile",
  {
    timeout: 90_000,
  },
  async () => {
    await using dir = await tempDir();
    await using door = await Door.start(dir.path);
    await door.crowd(SLOW);
    for (let i = 0; i < HONEST; i++) await door.connect();
    await waitFor(() => door.isClear, {
      timeoutMs: WAIT_MS,
      what: "the slow ones to be cut",
    }).catch(() => undefined);
    for (const { way, opened, closed } of door.counts())
      expect([way, closed]).toEqual([way, opened]);
  },
);
