// SPDX-License-Identifier: Apache-2.0
import { MeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";
import { expect, test } from "vitest";
import { createLevels } from "../src/levels.ts";
import { transportError } from "../src/transport.ts";

const failure = (code: string): MeshError =>
  transportError(Object.assign(new Error(code), { code }), "there", {});

test.each<[string, MeshError, MeshErrorCode]>([
  ["was not there", failure("ECONNREFUSED"), "UNREACHABLE"],
  ["broke off", failure("ECONNRESET"), "OUTCOME_UNKNOWN"],
  ["ended", failure("EPIPE"), "OUTCOME_UNKNOWN"],
  ["knows of no hub", new MeshError("UNREACHABLE", "no hub is connected"), "UNREACHABLE"],
  ["says no", new MeshError("VERSION_CONFLICT", "another version"), "VERSION_CONFLICT"],
])(
  "a write with a condition at a node that %s says whether it may have been made",
  async (...given) => {
    const [, error, code] = given;
    const { compareAndSet } = createLevels(async () => Promise.reject(error), 1_000);
    await expect(compareAndSet("d", { key: "k", value: 1 }, null)).rejects.toMatchObject({ code });
  },
);
