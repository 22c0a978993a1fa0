// SPDX-License-Identifier: Apache-2.0
/** Raises a number that all share, by strong writes, and notes what it was told. */
import { toMeshError } from "@ctxmesh/model";
import type { MeshErrorCode } from "@ctxmesh/model";
import type { ContextClient } from "@ctxmesh/sdk";

const DOC = "shared";
const KEY = "counter";
const STRONG = { consistency: "strong", timeoutMs: 5_000 } as const;
/** What is to be expected while hubs and their database die. */
const PASSING: ReadonlySet<MeshErrorCode> = new Set<MeshErrorCode>([
  "ENGINE_FENCED",
  "ENGINE_UNAVAILABLE",
  "READ_BEHIND",
  "UNREACHABLE",
  "VERSION_CONFLICT",
]);

/** What became of all raises. */
export interface RaiseReport {
  readonly made: number;
  /** Numbers that two were told to be theirs. */
  readonly doubled: number;
  /** Raises that were told to be made and that the number lacks, or that nobody asked for and it has. */
  readonly off: number;
}

/** One of those that raise it. */
export class Raiser {
  /** The numbers that it was told it has made. */
  readonly made: number[] = [];
  /** Of so many raises it was not told what became of them. */
  unknown = 0;
  readonly #client: ContextClient;

  constructor(client: ContextClient) {
    this.#client = client;
  }

  async run(isOver: () => boolean): Promise<void> {
    while (!isOver()) {
      try {
        await this.#raise();
      } catch (error) {
        const { code } = toMeshError(error);
        if (code === "OUTCOME_UNKNOWN") this.unknown++;
        else if (!PASSING.has(code)) throw error;
      }
    }
  }

  async #raise(): Promise<void> {
    const before = await this.#client.get(DOC, KEY, STRONG);
    const value = Number(before?.value ?? 0) + 1;
    await this.#client.compareAndSet(DOC, { key: KEY, value }, before?.version ?? null, STRONG);
    this.made.push(value);
  }
}

/** What became of all raises, by the number that nodes have in the end, which are equal. */
export async function reportRaises(
  raisers: readonly Raiser[],
  nodes: readonly { readonly client: ContextClient }[],
): Promise<RaiseReport> {
  const made = raisers.flatMap((raiser) => raiser.made);
  const unknown = raisers.reduce((sum, raiser) => sum + raiser.unknown, 0);
  const number = Number((await nodes[0]?.client.get(DOC, KEY))?.value ?? 0);
  const doubled = made.length - new Set(made).size;
  return {
    made: made.length,
    doubled,
    off: Math.max(0, made.length - number, number - made.length - unknown),
  };
}
