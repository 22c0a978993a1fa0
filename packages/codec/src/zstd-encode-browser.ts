// SPDX-License-Identifier: Apache-2.0
/** Stands in the place of `zstd-encode.ts` in bundles for pages (the field `browser` of package.json): what a page writes is short, and goes as it is. */
import type { encodeZstd as encode } from "./zstd-encode.ts";

/** None. */
export const encodeZstd: typeof encode = undefined;
