// SPDX-License-Identifier: Apache-2.0
/** Stands in the place of `zstd-native.ts` in bundles for pages (the field `browser` of package.json): a page has no zstd of its own. */
import type { Zstd } from "./zstd.ts";

/** None: see `useZstd`. */
export const nativeZstd: Zstd | undefined = undefined;
