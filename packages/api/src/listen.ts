// SPDX-License-Identifier: Apache-2.0
/** Listening on addresses, with errors that say what to do. */
import { chmod, lstat, unlink } from "node:fs/promises";
import { connect } from "node:net";
import type { AddressInfo, Server } from "node:net";
import { MeshError } from "@ctxmesh/model";

/** `sun_path` of Linux is 108 bytes with its closing zero, that of macOS and the BSDs 104. */
const MAX_PATH_BYTES = process.platform === "linux" ? 107 : 103;

const codeOf = (error: unknown): string | undefined =>
  error instanceof Error && "code" in error && typeof error.code === "string"
    ? error.code
    : undefined;

const unavailable = (message: string, remedy: string, cause?: unknown): MeshError =>
  new MeshError("ADDRESS_UNAVAILABLE", message, { field: "listen", remedy, cause });

function listen(
  server: Server,
  address: { path: string } | { host: string; port: number },
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(address, resolve);
  return promise.finally(() => server.off("error", reject));
}

/** Like {@link listen}, but nobody else can connect in the moment before the mode is set. */
function listenPrivately(server: Server, path: string): Promise<void> {
  // Node binds inside the call, so the mask is back in place before anything else runs.
  const before = process.umask(0o177);
  try {
    return listen(server, { path });
  } finally {
    process.umask(before);
  }
}

async function isAlive(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect({ path });
  socket.once("connect", () => resolve(true));
  socket.once("error", (error) => resolve(codeOf(error) !== "ECONNREFUSED"));
  const alive = await promise;
  socket.destroy();
  return alive;
}

/** Removes the socket file of a process that has died. Throws when it is alive, or no socket. */
async function removeStale(path: string): Promise<void> {
  const entry = await lstat(path).catch(() => undefined);
  if (entry === undefined) return;
  if (!entry.isSocket()) {
    throw unavailable(
      `${path} exists and is not a socket`,
      "choose another socket path, or move that file away",
    );
  }
  if (await isAlive(path)) {
    throw unavailable(
      `another process serves ${path}`,
      "stop the daemon that runs there, or choose another socket path",
    );
  }
  await unlink(path).catch(() => undefined);
}

/**
 * Listens on a Unix socket with mode 0600. The file of a dead process is replaced; that of a living
 * one, a file that is no socket, a path that is too long or a folder that is missing throws
 * `ADDRESS_UNAVAILABLE`.
 */
export async function listenUnix(server: Server, path: string): Promise<void> {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw unavailable(
      `the socket path ${path} has ${String(bytes)} bytes; the system allows ${String(MAX_PATH_BYTES)}`,
      "choose a shorter socket path",
    );
  }
  await removeStale(path);
  try {
    await listenPrivately(server, path);
    await chmod(path, 0o600);
  } catch (error) {
    const code = codeOf(error) ?? String(error);
    const remedy =
      code === "EADDRINUSE"
        ? "another process has just taken it; stop that one, or choose another socket path"
        : "check that the folder exists and that you may write to it";
    throw unavailable(`can't listen on ${path}: ${code}`, remedy, error);
  }
}

const TCP_REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: "stop the process that uses the port, or configure another one",
  EACCES: "ports below 1024 need a privilege; configure a higher one",
  EADDRNOTAVAIL: "configure an address of this machine, or 0.0.0.0 for all of them",
  ENOTFOUND: "configure an address or a host name that resolves",
};

/** Listens on TCP (port 0: any free one) and returns the bound address. Throws `ADDRESS_UNAVAILABLE`. */
export async function listenTcp(server: Server, host: string, port: number): Promise<AddressInfo> {
  try {
    await listen(server, { host, port });
  } catch (error) {
    const code = codeOf(error) ?? String(error);
    const remedy = TCP_REMEDIES[code] ?? "configure another address";
    throw unavailable(`can't listen on ${host}:${String(port)}: ${code}`, remedy, error);
  }
  return server.address() as AddressInfo;
}
