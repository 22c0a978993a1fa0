// SPDX-License-Identifier: Apache-2.0
/** Goal: what is said on the bus is heard, and nothing is in the way when the bus is not there. Method: a real nats-server, where there is one. */
import { spawn, spawnSync } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { openNatsHints } from "@ctxmesh/hints-nats";
import { parseSpaceId } from "@ctxmesh/model";
import type { HintBus } from "@ctxmesh/model";
import { silentLogger, waitFor } from "@ctxmesh/testing";
import { afterEach, describe, expect, test } from "vitest";

const isInstalled = spawnSync("nats-server", ["--version"]).status === 0;
const needs = isInstalled ? "" : " (skipped: no nats-server is installed)";
const SPACE = parseSpaceId("ab".repeat(32));
const OTHER = parseSpaceId("cd".repeat(32));
const bound = (what: string): { timeoutMs: number; what: string } => ({ timeoutMs: 15_000, what });

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const stack: (() => Promise<unknown> | undefined)[] = [];
afterEach(async () => {
  for (const undo of stack.splice(0).toReversed()) await undo();
});

function startServer(port: number): ChildProcess {
  const child = spawn("nats-server", ["-a", "127.0.0.1", "-p", String(port)], { stdio: "ignore" });
  stack.push(async () => stopServer(child));
  return child;
}

async function stopServer(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

function open(port: number): HintBus {
  const bus = openNatsHints({ url: `nats://127.0.0.1:${String(port)}`, logger: silentLogger });
  stack.push(async () => bus.close());
  return bus;
}

/** Says it until it is heard: a bus says nothing of when it is connected. */
async function sayUntilHeard(
  from: HintBus,
  position: number,
  heard: readonly number[],
): Promise<void> {
  await waitFor(() => {
    from.tell(SPACE, position);
    return heard.includes(position);
  }, bound("the hint"));
}

describe.skipIf(!isInstalled)(`a bus on NATS${needs}`, () => {
  test("what one says of a space the others hear, who listen to it, and it itself does not", async () => {
    const port = await freePort();
    startServer(port);
    const [one, two] = [open(port), open(port)];
    const [heard, elsewhere, own]: number[][] = [[], [], []];
    two.listen(SPACE, (position) => heard?.push(position));
    two.listen(OTHER, (position) => elsewhere?.push(position));
    one.listen(SPACE, (position) => own?.push(position));
    await sayUntilHeard(one, Number.MAX_SAFE_INTEGER, heard ?? []);
    await sayUntilHeard(two, 7, own ?? []);
    expect(elsewhere).toEqual([]);
    expect(new Set(own)).toEqual(new Set([7]));
  });

  test("a bus whose server comes later, and goes, and comes again works whenever it is there", async () => {
    const port = await freePort();
    const [one, two] = [open(port), open(port)];
    const heard: number[] = [];
    two.listen(SPACE, (position) => heard.push(position));
    one.tell(SPACE, 1);
    const server = startServer(port);
    await sayUntilHeard(one, 2, heard);
    await stopServer(server);
    one.tell(SPACE, 3);
    startServer(port);
    await sayUntilHeard(one, 4, heard);
    expect(new Set(heard)).toEqual(new Set([2, 4]));
  });
});

test("a bus without a server takes what is said, and closes", async () => {
  const bus = open(await freePort());
  const stop = bus.listen(SPACE, () => undefined);
  for (let i = 1; i <= 1_000; i++) bus.tell(SPACE, i);
  stop();
  await bus.close();
  await expect(bus.close()).resolves.toBeUndefined();
});

test.each(["http://127.0.0.1", "not a url", "nats//u:secret-password@h"])(
  "an address that is none is refused, without what may be a password: %s",
  (url) => {
    expect(() => openNatsHints({ url, logger: silentLogger })).toThrow(
      expect.objectContaining({
        code: "CONFIG_INVALID",
        message: expect.not.stringContaining("secret-password") as string,
      }),
    );
  },
);
