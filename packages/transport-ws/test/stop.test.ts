// SPDX-License-Identifier: Apache-2.0
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test(
  "a program ends by itself once its WebSocket transports are stopped",
  { timeout: 60_000 },
  async () => {
    const program = fileURLToPath(new URL("fixtures/exchange-and-stop.ts", import.meta.url));
    const { stdout } = await promisify(execFile)(
      process.execPath,
      ["--conditions=@ctxmesh/source", program],
      { timeout: 30_000 },
    );
    expect(stdout).toBe("stopped");
  },
);
