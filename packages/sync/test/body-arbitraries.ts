// SPDX-License-Identifier: Apache-2.0
/** Random messages about bodies that are left out. */
import { parseHeaderHash, parseSubscription, toHex } from "@ctxmesh/model";
import type { Subscription } from "@ctxmesh/model";
import type { BodiesMessage, WantedMessage } from "@ctxmesh/sync";
import * as fc from "fast-check";

const bytes = (length: number): fc.Arbitrary<Uint8Array> =>
  fc.uint8Array({ minLength: length, maxLength: length });
const texts = (text: fc.Arbitrary<string>): fc.Arbitrary<string[]> =>
  fc.array(text, { minLength: 1, maxLength: 12 });
const subscription = fc
  .record(
    {
      docs: texts(fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._/-]{0,20}$/u)),
      keys: texts(fc.stringMatching(/^[a-z*/]{1,20}$/u)),
      models: texts(fc.string({ unit: "grapheme", minLength: 1, maxLength: 5 })),
      maxAgeMs: fc.integer({ min: 1_000 }),
    },
    { requiredKeys: [] },
  )
  .filter((rules) => Object.keys(rules).length > 0)
  .map(parseSubscription);
/** What a hello or a wish says of it. */
export const only: fc.Arbitrary<Subscription | undefined> = fc.option(subscription, {
  nil: undefined,
});
const ref = fc.record({
  hash: bytes(32).map((hash) => parseHeaderHash(toHex(hash))),
  section: fc.nat(255),
});
/** A wish. */
export const wanted: fc.Arbitrary<WantedMessage> = fc.record({
  type: fc.constant("wanted"),
  wanted: fc.array(ref, { maxLength: 12 }),
  only,
});

/** An answer. */
export const bodies: fc.Arbitrary<BodiesMessage> = fc.record({
  type: fc.constant("bodies"),
  bodies: fc.array(
    fc
      .tuple(ref, fc.option(fc.uint8Array({ maxLength: 40 })))
      .map(([of, body]) => ({ ...of, body })),
    { maxLength: 12 },
  ),
});
