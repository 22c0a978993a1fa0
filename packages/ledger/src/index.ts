// SPDX-License-Identifier: Apache-2.0
/** Not written yet. */
export const placeholder = undefined;
