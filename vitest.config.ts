import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { defaultServerConditions } from "vite";
import { defineConfig } from "vitest/config";

// Hundreds of processes run the same sources: agents, hubs, commands, and the test files themselves. One compiles for all.
process.env["NODE_COMPILE_CACHE"] ??= fileURLToPath(
  new URL("node_modules/.cache/compiled", import.meta.url),
);

export default defineConfig({
  // Workspace packages resolve to src/, so that no test needs a build. Vitest reads the
  // server conditions; `resolve.conditions` alone has no effect in a Node project.
  ssr: { resolve: { conditions: ["@ctxmesh/source", ...defaultServerConditions] } },
  test: {
    testTimeout: 30_000,
    // What starts daemons in a hook takes its time on a busy machine.
    hookTimeout: 60_000,
    // Many tests wait for processes of their own; with one file at a time, half of a small machine would stand idle.
    maxWorkers: Math.max(2, availableParallelism() - 1),
    projects: [
      {
        extends: true,
        test: { name: "unit", include: ["{packages/*,edge-agent,hub}/test/**/*.test.ts"] },
      },
      { extends: true, test: { name: "mesh", include: ["test/**/*.test.ts"] } },
    ],
  },
});
