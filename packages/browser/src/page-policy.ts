// SPDX-License-Identifier: Apache-2.0
/** Whether a page may do what a replica needs: its content security policy (W3C CSP 3) is the site's own. */
import { MeshError } from "@ctxmesh/model";

/** The smallest module of WebAssembly: its magic number, and its version. */
const EMPTY_MODULE = Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0);

/**
 * Throws `CONFIG_INVALID` where the page may not run WebAssembly or compile code. Schemas are compiled, and one may be
 * published at any time: a replica that could not apply it would show what others don't.
 */
export function assertPolicy(): void {
  try {
    void new WebAssembly.Module(EMPTY_MODULE);
    // oxlint-disable-next-line typescript/no-implied-eval -- it is what the compiler of schemas does
    void new Function("");
  } catch (cause) {
    throw new MeshError(
      "CONFIG_INVALID",
      "the page's content security policy forbids what a replica needs",
      {
        remedy: "allow 'unsafe-eval' in script-src",
        cause,
      },
    );
  }
}
