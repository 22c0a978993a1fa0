// SPDX-License-Identifier: Apache-2.0
/**
 * What the editors of one document say of themselves: awareness, in the words of y-protocols. A stock provider passes on whatever it hears of
 * others, so statements that are not a connection's own are left aside; what it says of itself is looked at, and refused loudly.
 */
import { LIMITS, MeshError } from "@ctxmesh/model";
import type { ClientHolder } from "@ctxmesh/model";
import type { AwarenessEntry } from "./wire.ts";

/** A connection, as far as presence goes. */
export interface Editor {
  /** To whom its token was issued. */
  readonly subject: string;
  /** When it came, as {@link Presence.join} counts. */
  readonly joined: number;
  /** The client id that it speaks for, once it has said one. */
  client?: number | undefined;
}

interface Present {
  readonly owner: Editor;
  readonly clock: number;
  readonly state: string;
}

const NOBODY = "null";

/** Who is there. */
export class Presence {
  readonly #present = new Map<number, Present>();
  /** By client id: connections up to this number may still hear of one that has left, and would bring it back. */
  readonly #left = new Map<number, number>();
  /** Of whom there is something new, as it is to be told. */
  #news = new Map<number, AwarenessEntry>();
  #joins = 0;

  /** A new connection. */
  join(subject: string): Editor {
    this.#joins += 1;
    return { subject, joined: this.#joins };
  }

  /**
   * Takes in what a connection says. Throws, with nothing of the entry taken in, `POLICY_REFUSED` for who says to be somebody else, `LIMIT_EXCEEDED`
   * (`presenceBytes`), `FORMAT_INVALID`.
   */
  hear(editor: Editor, entries: readonly AwarenessEntry[]): void {
    for (const entry of entries) if (this.#isOwn(editor, entry)) this.#take(editor, entry);
  }

  /** Whether a connection speaks for itself, and says something new. */
  #isOwn(editor: Editor, { client, clock, state }: AwarenessEntry): boolean {
    if (editor.client !== undefined && editor.client !== client) return false;
    const known = this.#present.get(client);
    if (known === undefined) {
      const isBroughtBack = (this.#left.get(client) ?? 0) >= editor.joined;
      return state !== NOBODY && (editor.client === client || !isBroughtBack);
    }
    if (known.owner === editor) {
      return clock > known.clock || (clock === known.clock && state === NOBODY);
    }
    // Who has lost a connection comes back on another, while nobody has noticed; what is passed on is never newer.
    return known.owner.subject === editor.subject && clock > known.clock;
  }

  #take(editor: Editor, { client, clock, state }: AwarenessEntry): void {
    const checked = state === NOBODY ? state : checkState(state, editor.subject);
    const before = this.#present.get(client)?.owner;
    if (before !== undefined && before !== editor) before.client = undefined;
    editor.client = client;
    if (checked === NOBODY) this.#present.delete(client);
    else this.#present.set(client, { owner: editor, clock, state: checked });
    this.#news.set(client, { client, clock, state: checked });
  }

  /** A connection has ended, and who spoke on it is gone. */
  leave(editor: Editor): void {
    const { client } = editor;
    if (client === undefined) return;
    editor.client = undefined;
    this.#left.delete(client);
    this.#left.set(client, this.#joins);
    const [longest] = this.#left.keys();
    if (this.#left.size > LIMITS.presenceLeft && longest !== undefined) this.#left.delete(longest);
    const known = this.#present.get(client);
    if (known?.owner !== editor) return;
    this.#present.delete(client);
    this.#news.set(client, { client, clock: known.clock, state: NOBODY });
  }

  /** Whose page says that it has a client id, as an editor sees it: undefined while itself has said none. */
  whose({ subject, client: own }: Editor, client: number): ClientHolder | undefined {
    const known = this.#present.get(client);
    if (known === undefined) return own === undefined ? undefined : "none";
    return known.owner.subject === subject ? "own" : "others";
  }

  /** Everybody who is there. */
  all(): readonly AwarenessEntry[] {
    return Array.from(this.#present, ([client, { clock, state }]) => ({ client, clock, state }));
  }

  /** Whether there is something to tell. */
  get hasNews(): boolean {
    return this.#news.size > 0;
  }

  /** What is to be told; from then on it is not new any more. */
  takeNews(): readonly AwarenessEntry[] {
    const news = [...this.#news.values()];
    this.#news = new Map();
    return news;
  }
}

/** Checks what somebody says of itself, and writes it anew, so that all read the same in it. */
function checkState(text: string, subject: string): string {
  if (text.length > LIMITS.presenceBytes || Buffer.byteLength(text) > LIMITS.presenceBytes) {
    const limit = String(LIMITS.presenceBytes);
    throw new MeshError(
      "LIMIT_EXCEEDED",
      `an awareness state has more than ${limit} bytes (presenceBytes)`,
    );
  }
  const { state, rewritten } = parseState(text);
  for (const [name, value] of identitiesIn(state)) {
    if (value !== undefined && value !== subject) {
      throw new MeshError(
        "POLICY_REFUSED",
        `awareness says ${name} is not the subject of the token`,
      );
    }
  }
  return rewritten;
}

type State = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is State => typeof value === "object" && value !== null;

function parseState(text: string): { readonly state: State; readonly rewritten: string } {
  try {
    const state: unknown = JSON.parse(text);
    // Writing goes deeper into the stack than reading: what nests too far fails here.
    if (isObject(state) && !Array.isArray(state))
      return { state, rewritten: JSON.stringify(state) };
  } catch {
    // As for anything else that is none.
  }
  throw new MeshError("FORMAT_INVALID", "an awareness state is no JSON object");
}

/** The fields by which editors tell who somebody is. */
function identitiesIn(state: State): readonly (readonly [string, unknown])[] {
  const user: State = isObject(state["user"]) ? state["user"] : {};
  return [
    ["sub", own(state, "sub")],
    ["user.id", own(user, "id")],
    ["user.sub", own(user, "sub")],
  ];
}

const own = (state: State, name: string): unknown =>
  Object.hasOwn(state, name) ? state[name] : undefined;
