// SPDX-License-Identifier: Apache-2.0
import type { Checkpoints } from "./checkpoints.ts";
import type { BatchLog } from "./log.ts";
import type { ExpectedHead } from "./open.ts";
import type { Records } from "./records.ts";
import type { State } from "./state.ts";
import type { VoidHeaders } from "./void-headers.ts";

/** What a replica has at a moment; the committer alone changes it. */
export interface Core {
  readonly log: BatchLog;
  readonly checkpoints: Checkpoints;
  readonly voidHeaders: VoidHeaders;
  readonly records: Records;
  readonly state: State;
  readonly expected: readonly ExpectedHead[];
}
