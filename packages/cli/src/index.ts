// SPDX-License-Identifier: Apache-2.0
/** The `ctxmesh` command. Programs use `bin/ctxmesh.js`; this is for tools that start it in their own process. */
export { main } from "./main.ts";
