// SPDX-License-Identifier: Apache-2.0
/** Semantic versions without pre-releases and build numbers: a published schema is neither. */
import { MeshError } from "@ctxmesh/model";

/** `major.minor.patch`. */
export type Version = readonly [major: number, minor: number, patch: number];

const VERSION = /^(?<major>0|[1-9]\d{0,8})\.(?<minor>0|[1-9]\d{0,8})\.(?<patch>0|[1-9]\d{0,8})$/u;

/** Parses a version. Throws `INPUT_INVALID`. */
export function parseVersion(text: string): Version {
  const { major, minor, patch } = VERSION.exec(text)?.groups ?? {};
  if (major === undefined) {
    throw new MeshError("INPUT_INVALID", `schema: version ${JSON.stringify(text)} is not x.y.z`, {
      field: "version",
    });
  }
  return [Number(major), Number(minor), Number(patch)];
}

/** Negative when `a` is below `b`, 0 when they are the same. */
export const compareVersions = (a: Version, b: Version): number =>
  a[0] - b[0] || a[1] - b[1] || a[2] - b[2];
