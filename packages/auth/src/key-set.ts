// SPDX-License-Identifier: Apache-2.0
/** The keys of an issuer: a JWK set in a file, or behind an `https` address, cached and read again as keys change. */
import { readFile } from "node:fs/promises";
import { request } from "node:https";
import { LIMITS, MeshError, toMeshError } from "@ctxmesh/model";
import type { Clock, Logger } from "@ctxmesh/model";
import { readKeySet } from "./keys.ts";
import type { TokenKey, TokenKeys } from "./keys.ts";

/** Which set, and what it takes to read it. */
export interface KeySetOptions {
  /** The path of a file, or an `https` URL. */
  readonly location: string;
  /** Certificates, PEM, of who may vouch for the server; those of the runtime by default. */
  readonly ca?: string;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Between two readings, whatever tokens ask for. */
export const READ_EVERY_MS = 60_000;
/** A set this old is read again, while it goes on being used. */
export const FRESH_MS = 600_000;
/** A set that could not be read again for so long is used no more: a key may have been taken out of it. */
const STALE_MS = 900_000;
/** Time for a server to answer. */
const ANSWER_MS = 5_000;

/**
 * Reads the set. Rejects with `CONFIG_INVALID` for another location, `FILE_UNAVAILABLE` and `FORMAT_INVALID` for a file that is not there or
 * wrong; a server that does not answer is asked again when there is a token.
 */
export async function openKeySet(options: KeySetOptions): Promise<TokenKeys> {
  const keys = new KeySet(options);
  await keys.open();
  return keys;
}

class KeySet implements TokenKeys {
  readonly #options: KeySetOptions;
  readonly #url: URL | undefined;
  #keys: ReadonlyMap<string, TokenKey> = new Map();
  #readMs = Number.NEGATIVE_INFINITY;
  #triedMs = Number.NEGATIVE_INFINITY;
  #reading: Promise<void> | undefined;

  constructor(options: KeySetOptions) {
    this.#options = options;
    this.#url = urlOf(options.location);
  }

  async open(): Promise<void> {
    if (this.#url === undefined) await this.#take();
    else await this.#readAgain();
  }

  async find(id: string): Promise<TokenKey | undefined> {
    const known = this.#keys.get(id);
    const ageMs = this.#since(this.#readMs);
    if (known !== undefined && ageMs < STALE_MS) {
      if (ageMs >= FRESH_MS) void this.#readAgain();
      return known;
    }
    await this.#readAgain();
    if (this.#since(this.#readMs) < STALE_MS) return this.#keys.get(id);
    throw new MeshError("UNREACHABLE", "the keys that tokens are signed with can't be read", {
      field: "token",
    });
  }

  /** Reads the set unless that was tried of late; one reading serves all who wait. Never rejects. */
  async #readAgain(): Promise<void> {
    if (this.#reading === undefined && this.#since(this.#triedMs) >= READ_EVERY_MS) {
      this.#reading = this.#take()
        .catch((error: unknown) => {
          const { code, message } = toMeshError(error);
          this.#options.logger.warn("keys.unavailable", { code, error: message });
        })
        .finally(() => {
          this.#reading = undefined;
        });
    }
    await this.#reading;
  }

  async #take(): Promise<void> {
    this.#triedMs = this.#options.clock.now();
    this.#keys = await readKeySet(await this.#text());
    this.#readMs = this.#options.clock.now();
  }

  async #text(): Promise<string> {
    const { location, ca } = this.#options;
    if (this.#url !== undefined) return fetchText(this.#url, ca);
    try {
      return await readFile(location, "utf8");
    } catch (cause) {
      throw new MeshError("FILE_UNAVAILABLE", `the key set ${location} can't be read`, { cause });
    }
  }

  /** Milliseconds that have passed; endlessly many when the clock went back, so that nothing lasts because of it. */
  #since(ms: number): number {
    const passed = this.#options.clock.now() - ms;
    return passed < 0 ? Number.POSITIVE_INFINITY : passed;
  }
}

function urlOf(location: string): URL | undefined {
  if (!/^[a-z][a-z0-9+.-]*:\/\//iu.test(location)) return undefined;
  const url = URL.canParse(location) ? new URL(location) : undefined;
  if (url?.protocol === "https:" && url.username === "" && url.password === "") return url;
  throw new MeshError("CONFIG_INVALID", "a key set is a file or an https URL without credentials", {
    field: "auth.keys",
    remedy: "write it like https://id.example.org/keys.json or /etc/ctxmesh/keys.json",
  });
}

/** The body of an answer with status 200. Redirects are not followed: the keys are where the operator said. */
async function fetchText(url: URL, ca: string | undefined): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const fail = (why: string, cause?: unknown): void => {
    reject(
      new MeshError("UNREACHABLE", `the key set at ${url.origin} can't be read: ${why}`, { cause }),
    );
  };
  const asking = request(url, {
    headers: { accept: "application/jwk-set+json, application/json" },
    signal: AbortSignal.timeout(ANSWER_MS),
    agent: false,
    ...(ca === undefined ? {} : { ca }),
  });
  asking.on("error", (error) => fail(error.message, error));
  asking.on("response", (response) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    if (response.statusCode !== 200) {
      fail(`the answer has status ${String(response.statusCode)}`);
      asking.destroy();
    }
    response.on("error", (error) => fail(error.message, error));
    response.on("data", (part: Buffer) => {
      bytes += part.length;
      parts.push(part);
      if (bytes <= LIMITS.keySetBytes) return;
      fail(`the answer has more than ${String(LIMITS.keySetBytes)} bytes (keySetBytes)`);
      asking.destroy();
    });
    response.on("end", () => resolve(Buffer.concat(parts).toString("utf8")));
  });
  asking.end();
  return promise;
}
