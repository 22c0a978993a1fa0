// SPDX-License-Identifier: Apache-2.0
import type { ChainId } from "./slot.ts";

/** A chain with its writer and incarnation, hex, as one text, by which it is found among others. */
export interface NamedChain extends ChainId {
  readonly name: string;
}

/** Chains that are known here; past it, all are forgotten, and those that come again are kept anew. */
const MOST = 4_096;

const known = new Map<string, NamedChain>();

/** The name of a chain. */
export const nameOf = ({ writer, incarnation }: ChainId): string => writer + incarnation;

/** The same chain as the object that other documents have of it: each one of its own would take more memory than a short fact. */
export function sharedChain({ writer, incarnation }: ChainId): NamedChain {
  const name = writer + incarnation;
  const shared = known.get(name);
  if (shared !== undefined) return shared;
  if (known.size >= MOST) known.clear();
  const chain = { writer, incarnation, name };
  known.set(name, chain);
  return chain;
}
