// SPDX-License-Identifier: Apache-2.0
/** The least that a daemon with a store can be: `level` behind a Unix socket. Arguments: folder, socket. */
import { createServer } from "node:http";
import process from "node:process";
import { Level } from "level";

const [folder, socket] = process.argv.slice(2);
const database = new Level(folder);
await database.open();
const server = createServer(async (request, response) => {
  const key = new URL(request.url, "http://localhost").searchParams.get("key");
  const value = await database.get(key);
  response.statusCode = value === undefined ? 404 : 200;
  response.end(value);
});
server.listen(socket);
process.once("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
  void database.close();
});
