// SPDX-License-Identifier: Apache-2.0
/** What the page of browser.test.ts does. */
import { connect } from "../src/browser.ts";

/** Uses a node at a port, and says what came of it. */
export async function run(where: {
  readonly url: string;
  readonly token: string;
}): Promise<Readonly<Record<string, unknown>>> {
  const mesh = connect(where);
  await mesh.put("d", { key: "temperature", value: 71.5, confidence: 0.9 });
  const watch = mesh.watch({ doc: "d", prefix: "n/" });
  await watch.ready;
  await using view = mesh.view({
    doc: "d",
    prefix: "n/",
    map: ({ value }) => Number(value),
    reduce: (a, b) => a + b,
  });
  await view.ready;
  await mesh.put("d", { key: "n/a", value: 1 });
  await mesh.put("d", { key: "n/b", value: 2 });
  const watched: unknown[] = [];
  for await (const { fact } of watch) {
    watched.push(fact?.value);
    if (watched.length === 2) break;
  }
  while (view.value !== 3) await new Promise((resolve) => setTimeout(resolve, 5));
  const refused: unknown = await mesh.list({ limit: 10_001 }).catch((error: unknown) => error);
  return {
    value: (await mesh.get("d", "temperature"))?.value,
    none: (await mesh.get("d", "none")) === undefined,
    watched,
    viewed: view.value,
    refused: refused instanceof Error && "code" in refused ? refused.code : refused,
  };
}
