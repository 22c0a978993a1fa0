// SPDX-License-Identifier: Apache-2.0
/**
 * Gives a page the `Buffer` of Node.js, of which the pure packages use a few functions (`compare`, `concat`, `byteLength`). To be imported
 * before they are.
 */
// oxlint-disable-next-line import/extensions -- by its bare name it would be Node's own module
import { Buffer as PageBuffer } from "buffer/index.js";

const scope: { Buffer?: unknown } = globalThis;
scope.Buffer ??= PageBuffer;
