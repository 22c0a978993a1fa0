// SPDX-License-Identifier: Apache-2.0
import { uint } from "../../../packages/rich/test/support.ts";

/**
 * A Yjs V2 update of about 20 bytes that declares `structs` garbage structs of one clock: its columns
 * are run-length encoded, and so say how often a value repeats instead of repeating it.
 */
export const bombV2 = (structs: number): Uint8Array =>
  Uint8Array.from([
    0, // feature flag
    0, // keys
    1,
    7, // clients: 7
    0, // left clocks
    0, // right clocks
    1,
    0, // infos: garbage, for ever
    1,
    0, // texts: one empty text
    0, // parent infos
    0, // type references
    1 + uint(structs - 2).length, // lengths: 1, so many times
    0x41,
    ...uint(structs - 2),
    1, // one client
    ...uint(structs),
    0, // from clock 0
    0, // nothing deleted
  ]);
