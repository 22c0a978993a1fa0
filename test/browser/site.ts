// SPDX-License-Identifier: Apache-2.0
/** The pages in which the bundle is tried. */

const withPolicy = (policy: string): string =>
  `<!doctype html><meta http-equiv="content-security-policy" content="default-src 'none'; ${policy}">
  <script type="module" src="/page.js"></script>`;

/** A site of one empty page with the bundle, which is an origin of its own. */
export const siteOf = (bundle: string): Readonly<Record<string, string>> => ({
  "/index.html": `<!doctype html><title>test</title><script type="module">
      import * as ctxmesh from "/ctxmesh.js";
      globalThis.ctxmesh = ctxmesh;
    </script>`,
  "/policy.html": withPolicy("script-src 'self' 'unsafe-eval'; connect-src ws:"),
  "/no-code.html": withPolicy("script-src 'self'"),
  "/wasm-alone.html": withPolicy("script-src 'self' 'wasm-unsafe-eval'"),
  "/worker.js": `import * as ctxmesh from "/ctxmesh.js";
      const problems = [];
      addEventListener("unhandledrejection", ({ reason }) => problems.push(String(reason)));
      addEventListener("message", async ({ data }) => {
        const mesh = await ctxmesh.openReplica(data);
        await mesh.put("d", { key: "k", value: 1 });
        const { value } = await mesh.get("d", "k");
        await mesh.close();
        // What is unhandled is told in a turn of its own.
        setTimeout(() => postMessage({ device: mesh.device, value, problems }));
      });`,
  "/page.js": `import * as ctxmesh from "/ctxmesh.js"; globalThis.ctxmesh = ctxmesh;`,
  "/ctxmesh.js": bundle,
});
