// SPDX-License-Identifier: Apache-2.0
/** What a peer is told that has to know of a void batch: its header, and those of the void ones behind it. */
import { LIMITS } from "@ctxmesh/model";
import type { HeaderHash } from "@ctxmesh/model";
import { chainKey } from "./layout.ts";
import type { BatchSource } from "./checks.ts";
import type { Core } from "./core.ts";
import { encodeSignedHeader } from "./evidence.ts";
import type { ParsedHeader } from "./evidence.ts";
import { stateView } from "./state.ts";
import type { Chain, ChainView } from "./void-content.ts";
import { factsOf, isVoid, namedBy } from "./void-headers.ts";

/** What looking up a header is charged as: about as long as so many facts take. */
const ITEMS_PER_READ = 64;

/** One answer under way. */
class Answer {
  readonly items: Uint8Array[] = [];
  bytes = 0;
  readonly #core: Core;
  readonly #view: ChainView;
  readonly #sent = new Set<HeaderHash>();
  /** Chains of which it is told where they begin to be void. */
  readonly #explained = new Set<string>();
  /** Headers that were looked up. */
  reads = 0;

  constructor(core: Core) {
    this.#core = core;
    this.#view = stateView(core.records, core.voidHeaders, core.state);
  }

  async read(hash: HeaderHash): Promise<ParsedHeader | undefined> {
    this.reads++;
    const { voidHeaders, log } = this.#core;
    return (await voidHeaders.signed(hash)) ?? (await log.header(hash));
  }

  isVoid(header: ParsedHeader): boolean {
    return isVoid(this.#core.records, this.#view, factsOf(header));
  }

  /** Adds a header; where it takes more to see that it is void, that before it. */
  async add(parsed: ParsedHeader): Promise<void> {
    const isBehind =
      !this.#isVoidAlone(parsed) && parsed.header.seq >= this.#view.voidFrom(parsed.header);
    if (isBehind) await this.#explain(parsed.header);
    this.#push(parsed.hash, encodeSignedHeader(parsed));
  }

  #isVoidAlone({ header, hash }: ParsedHeader): boolean {
    return this.#core.records.standing(header, hash).kind === "void";
  }

  #push(hash: HeaderHash, item: Uint8Array): void {
    if (this.#sent.has(hash)) return;
    this.#sent.add(hash);
    this.items.push(item);
    this.bytes += item.length;
  }

  /** The first batch of a chain that is void: its header, or all of it where only the content speaks against it. */
  async #explain(chain: Chain): Promise<void> {
    const { replica, incarnation } = chain;
    const name = chainKey(replica, incarnation);
    const seq = this.#view.voidFrom(chain);
    if (this.#explained.has(name)) return;
    this.#explained.add(name);
    const { log, voidHeaders } = this.#core;
    const hash = (await log.hashAt(replica, incarnation, seq)) ?? voidHeaders.at(chain, seq);
    const first = hash === undefined ? undefined : await this.read(hash);
    if (first === undefined) return;
    if (this.#isVoidAlone(first)) this.#push(first.hash, encodeSignedHeader(first));
    else this.#push(first.hash, (await log.byHash(first.hash))?.bytes ?? encodeSignedHeader(first));
  }
}

/**
 * The signed header of a batch and those of the void ones behind it, `most` or some `LIMITS.syncChunkBytes` of them at most,
 * each before what it names. Before a header that is void only since its chain is from an earlier batch on, there is the header
 * of that; or the whole of that batch, where its header counts and its content does not. Empty when it is not here. `source`, who asked, is charged for what was looked up: one header names 33 others.
 */
export async function headersFor(
  hash: HeaderHash,
  core: Core,
  most: number,
  source?: BatchSource,
): Promise<readonly Uint8Array[]> {
  const answer = new Answer(core);
  const { frontier } = core.state;
  const seen = new Set<HeaderHash>([hash]);
  for (const name of seen) {
    const isFull = answer.items.length >= most || answer.bytes >= LIMITS.syncChunkBytes;
    if (isFull || answer.reads >= 2 * most) break;
    // Most of what is named counts.
    if (name !== hash && frontier.isRecent(name)) continue;
    const stored = await answer.read(name);
    if (stored === undefined || (name !== hash && !answer.isVoid(stored))) continue;
    await answer.add(stored);
    for (const next of namedBy(stored.header)) seen.add(next);
  }
  source?.charge({ bytes: 0, items: answer.reads * ITEMS_PER_READ });
  return answer.items;
}
