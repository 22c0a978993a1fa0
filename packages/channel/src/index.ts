// SPDX-License-Identifier: Apache-2.0
/** What every implementation of the `Channel` port needs: the queue between a socket that pushes and a reader that pulls. */
export { Inbox } from "./inbox.ts";
