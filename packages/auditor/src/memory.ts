// SPDX-License-Identifier: Apache-2.0
import { setFlagsFromString } from "node:v8";

/**
 * Keeps the part of the heap for new objects as small as it is when a program starts. While a bundle is read, nearly all that is made is kept
 * or garbage at once; V8 would take that for a reason to make room, and 80 MB more of it. For programs that verify and end.
 */
export function keepHeapSmall(): void {
  setFlagsFromString("--semi-space-growth-factor=1");
}
