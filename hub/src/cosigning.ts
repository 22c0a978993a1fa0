// SPDX-License-Identifier: Apache-2.0
/**
 * Has witnesses cosign a hub's log (the client of C2SP tlog-witness). It begins once a checkpoint is durable and holds nothing up: a seal is made without it, and what
 * could not be asked, or was asked before a crash, is asked again.
 */
import {
  TREE_SIZE_MEDIA_TYPE,
  acceptCosignatures,
  formatAddCheckpoint,
  parseCheckpoint,
  parseTreeSize,
} from "@ctxmesh/ledger";
import type { Log, WitnessKey } from "@ctxmesh/ledger";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { Logger } from "@ctxmesh/model";

/** A witness that a hub asks. */
export interface HubWitness {
  /** Its submission prefix, `https:` or `http:`: `/add-checkpoint` comes behind it. */
  readonly url: string;
  /** Its keys, of one name. */
  readonly keys: readonly WitnessKey[];
}

/** What cosigning needs. */
export interface CosigningOptions {
  readonly log: Pick<Log, "checkpoint" | "consistency" | "cosigned" | "keepCosignatures" | "size">;
  readonly witnesses: readonly HubWitness[];
  readonly logger: Logger;
}

/** One witness answers within this, or is asked again later, in milliseconds. */
const ANSWER_MS = 5_000;
/** Between tries while one is missing: twice as long each time, in milliseconds. */
const RETRY_MS = { first: 1_000, longest: 60_000 } as const;
/** A wrong size is put right once; it may have been another hub's question meanwhile. */
const TRIES = 3;

/** Whom a hub asks, and what is known of it. */
interface Asked extends HubWitness {
  readonly name: string;
  /** Size of the tree that it cosigned last, as far as is known here. */
  size: number;
  /** Whether it failed when it was last asked. */
  isFailing: boolean;
}

/** Asks the witnesses of one log. */
export class Cosigning {
  readonly #options: CosigningOptions;
  readonly #witnesses: readonly Asked[];
  readonly #stop = new AbortController();
  #running: Promise<void> | undefined;
  #isWanted = false;
  #retry: NodeJS.Timeout | undefined;
  #retryMs: number = RETRY_MS.first;

  constructor(options: CosigningOptions) {
    this.#options = options;
    this.#witnesses = options.witnesses.map((witness) => ({
      ...witness,
      name: witness.keys[0]?.name ?? witness.url,
      size: 0,
      isFailing: false,
    }));
  }

  /** There is a new checkpoint, or there may be one without the lines of all witnesses. */
  poke(): void {
    if (this.#stop.signal.aborted || this.#witnesses.length === 0) return;
    clearTimeout(this.#retry);
    this.#isWanted = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      // Whoever came after the last look is not forgotten.
      if (this.#isWanted) this.poke();
    });
  }

  /** Resolves when nobody is being asked, or after `timeoutMs`. */
  async settled(timeoutMs: number): Promise<void> {
    if (this.#running === undefined) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, timeoutMs);
    await Promise.race([this.#running, promise]);
    clearTimeout(timer);
  }

  /** Asks nobody any more. */
  async stop(): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#retry);
    await this.#running;
  }

  async #run(): Promise<void> {
    let isComplete = true;
    while (this.#isWanted && !this.#stop.signal.aborted) {
      this.#isWanted = false;
      isComplete = await this.#round();
    }
    if (isComplete) this.#retryMs = RETRY_MS.first;
    else this.#askLater();
  }

  #askLater(): void {
    if (this.#stop.signal.aborted) return;
    this.#retry = setTimeout(() => {
      this.poke();
    }, this.#retryMs).unref();
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MS.longest);
  }

  /** Asks all whose lines the newest checkpoint lacks, at the same time, and keeps what they say. Resolves with whether none is missing. */
  async #round(): Promise<boolean> {
    const { log, logger } = this.#options;
    const { checkpoint } = log;
    if (checkpoint === undefined) return true;
    const missing = this.#witnesses.filter((witness) => !this.#hasSigned(witness));
    const answers = await Promise.all(missing.map(async (one) => this.#ask(one, checkpoint)));
    const lines = answers.join("");
    try {
      if (lines !== "") await log.keepCosignatures(checkpoint, lines);
    } catch (error) {
      // The store says what is wrong with it to whoever writes next; lost are lines that can be asked for again.
      logger.warn("witness.lines-lost", { error: toMeshError(error).message });
      return false;
    }
    return answers.every((answer) => answer !== "");
  }

  /** Whether the newest checkpoint has a line of a witness. */
  #hasSigned({ keys, name }: Asked): boolean {
    const { log } = this.#options;
    if (log.cosigned === undefined) return false;
    const { size, note } = parseCheckpoint(log.cosigned);
    return (
      size === log.size && keys.length > 0 && note.signatures.some((line) => line.name === name)
    );
  }

  /** The lines of a witness; empty when it could not be asked, or refused. */
  async #ask(witness: Asked, checkpoint: string): Promise<string> {
    const { logger } = this.#options;
    try {
      const lines = await this.#request(witness, checkpoint);
      if (witness.isFailing) logger.info("witness.cosigns", { witness: witness.name });
      witness.isFailing = false;
      return lines;
    } catch (error) {
      if (this.#stop.signal.aborted) return "";
      const { message } = toMeshError(error);
      if (!witness.isFailing) logger.warn("witness.missing", { witness: witness.name, message });
      witness.isFailing = true;
      return "";
    }
  }

  async #request(witness: Asked, checkpoint: string): Promise<string> {
    const { log } = this.#options;
    const { size } = parseCheckpoint(checkpoint);
    for (let tries = 0; tries < TRIES; tries++) {
      const oldSize = Math.min(witness.size, size);
      const proof = oldSize === 0 ? [] : await log.consistency(oldSize, size);
      const answer = await this.#post(
        witness.url,
        formatAddCheckpoint({ oldSize, proof, checkpoint }),
      );
      if (answer.status === 200) {
        const lines = acceptCosignatures(checkpoint, answer.body, witness.keys);
        witness.size = size;
        return lines;
      }
      if (answer.status !== 409 || answer.type !== TREE_SIZE_MEDIA_TYPE) {
        throw refusal(`${String(answer.status)} ${answer.body.split("\n", 1)[0] ?? ""}`);
      }
      witness.size = this.#plausible(witness, parseTreeSize(answer.body));
    }
    throw refusal("it names another size each time");
  }

  /** The size that a witness says it has cosigned: it can't be more than there are entries, unless these keys signed another log. */
  #plausible({ name }: Asked, size: number): number {
    const { log, logger } = this.#options;
    if (size <= log.size) return size;
    logger.error("witness.ahead", { witness: name, size, entries: log.size });
    throw refusal(
      `it has cosigned ${String(size)} entries of this log, which has ${String(log.size)}: the store was set back, or another hub signs with these keys`,
    );
  }

  async #post(
    url: string,
    body: string,
  ): Promise<{ readonly status: number; readonly type: string; readonly body: string }> {
    const signal = AbortSignal.any([this.#stop.signal, AbortSignal.timeout(ANSWER_MS)]);
    const response = await fetch(`${url}/add-checkpoint`, {
      method: "POST",
      headers: { "content-type": "text/plain; charset=utf-8" },
      body,
      redirect: "error",
      signal,
    }).catch((error: unknown) => {
      throw refusal(reasonOf(error));
    });
    const [type = ""] = (response.headers.get("content-type") ?? "").split(";");
    return { status: response.status, type: type.trim(), body: await readBounded(response) };
  }
}

const refusal = (reason: string): MeshError => new MeshError("UNREACHABLE", reason.slice(0, 300));

/** What `fetch` hides in its cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const { cause } = error;
  return cause instanceof Error ? cause.message : error.message;
}

/** The text of a response, which is not read further than a checkpoint may be long. */
async function readBounded(response: Response): Promise<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let [text, bytes] = ["", 0];
  try {
    for await (const chunk of response.body ?? []) {
      bytes += chunk.length;
      if (bytes > LIMITS.checkpointBytes) throw refusal("its answer is too long");
      text += decoder.decode(chunk, { stream: true });
    }
    return text + decoder.decode();
  } catch (error) {
    throw error instanceof MeshError ? error : refusal(reasonOf(error));
  }
}
