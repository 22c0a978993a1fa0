// SPDX-License-Identifier: Apache-2.0
/** HTTP to a port of a node, by `fetch` (WHATWG), with a bearer token (RFC 6750): browsers have nothing else. */
import { MeshError } from "@ctxmesh/model";
import { timedOut, transportError } from "./transport.ts";
import type { NodeRequest, NodeResponse, Transport } from "./transport.ts";

/** Where a node listens, and what lets us in. */
export interface PortOptions {
  /** Such as `http://127.0.0.1:4401`. */
  readonly url: string;
  readonly token?: string;
}

/** Opens no connection yet. Throws `INPUT_INVALID` for what is no URL of HTTP. */
export function createFetchTransport({ url, token }: PortOptions): Transport {
  const base = baseOf(url);
  const closing = new AbortController();
  return {
    place: base,
    send: (request) => send(base, token, request, closing.signal),
    close: () => {
      closing.abort(new MeshError("CLOSED", "the client is closed"));
    },
  };
}

function baseOf(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^https?:$/u.test(parsed.protocol)) {
    throw new MeshError("INPUT_INVALID", `${JSON.stringify(url)} is no URL of a node`, {
      field: "url",
      remedy: "write it as http://127.0.0.1:4401",
    });
  }
  return parsed.href.replace(/\/$/u, "");
}

async function send(
  base: string,
  token: string | undefined,
  request: NodeRequest,
  closing: AbortSignal,
): Promise<NodeResponse> {
  const { method, target, headers, body, signal, timeoutMs } = request;
  const silence = new AbortController();
  const heard = (): ReturnType<typeof setTimeout> =>
    setTimeout(() => {
      silence.abort(timedOut(timeoutMs));
    }, timeoutMs);
  let timer = heard();
  const any = [silence.signal, closing, ...(signal === undefined ? [] : [signal])];
  const failed = (error: unknown): MeshError => {
    clearTimeout(timer);
    const { reason } = [silence.signal, closing].find(({ aborted }) => aborted) ?? {};
    return transportError(reason ?? error, base, request);
  };
  const response = await fetch(base + target, {
    method,
    headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) },
    signal: AbortSignal.any(any),
    cache: "no-store",
    redirect: "error",
    ...(body === undefined ? {} : { body }),
  }).catch((error: unknown) => {
    throw failed(error);
  });
  clearTimeout(timer);
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    const reader = response.body?.getReader();
    try {
      for (;;) {
        timer = heard();
        const part = await reader?.read();
        // Whoever takes long with a part is not the node that says nothing.
        clearTimeout(timer);
        if (part === undefined || part.done) return;
        yield part.value as Uint8Array;
      }
    } catch (error) {
      throw failed(error);
    } finally {
      clearTimeout(timer);
      reader?.cancel().catch(() => undefined);
    }
  }
  return {
    status: response.status,
    trailer: () => undefined,
    [Symbol.asyncIterator]: chunks,
  };
}
