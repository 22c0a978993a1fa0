// SPDX-License-Identifier: Apache-2.0
/**
 * Which exit codes are right for a changed file, told without the code that verifies: is it still well-formed, and
 * which part says something else?
 */
import { decodeCbor } from "@ctxmesh/codec";

/** Kinds of files. */
export type Target = "bundle" | "decision" | "fact proof" | "trust root";

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
type Codes = readonly number[];

const MALFORMED: Codes = [3];
const WRONG: Codes = [1];

/** RFC 8785 for what these files hold: no numbers but integers, no names but plain ones. */
function canonical(value: Json): string {
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value as Readonly<Record<string, Json>>)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, member]) => `${JSON.stringify(name)}:${canonical(member)}`);
  return `{${members.join(",")}}`;
}

function parse(text: string): Json | undefined {
  try {
    const value = JSON.parse(text) as Json;
    return canonical(value) === text ? value : undefined;
  } catch {
    return undefined;
  }
}

const member = (value: Json | undefined, name: string): Json | undefined =>
  typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, Json>>)[name]
    : undefined;

const same = (a: Json | undefined, b: Json | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && canonical(a) === canonical(b));

const isBase64 = (value: Json | undefined): boolean =>
  typeof value === "string" && Buffer.from(value, "base64").toString("base64") === value;

const text = (bytes: Uint8Array): string | undefined => {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined;
  }
};

const sameNames = (a: Json, b: Json): boolean =>
  typeof a === "object" && a !== null && typeof b === "object" && b !== null
    ? Object.keys(a).join(",") === Object.keys(b).join(",")
    : typeof a === typeof b;

/** The envelope of a seal. */
function envelopeCodes(was: Json | undefined, is: Json | undefined): Codes {
  const [before, after] = [was, is].map((each) =>
    typeof each === "string" ? parse(each) : undefined,
  );
  if (before === undefined || after === undefined || !sameNames(before, after)) return MALFORMED;
  if (!same(member(before, "payloadType"), member(after, "payloadType"))) return MALFORMED;
  const signatures = member(after, "signatures");
  if (!Array.isArray(signatures) || signatures.length !== 1) return MALFORMED;
  const [signed] = signatures as readonly Json[];
  const [wasSigned] = member(before, "signatures") as readonly Json[];
  if (!isBase64(member(signed, "sig")) || typeof member(signed, "keyid") !== "string")
    return MALFORMED;
  if (!same(member(before, "payload"), member(after, "payload"))) {
    const payload = member(after, "payload");
    const statement =
      typeof payload === "string" && isBase64(payload)
        ? parse(Buffer.from(payload, "base64").toString("utf8"))
        : undefined;
    // Well-formed, and of another space or key: policy; else the signature does not fit, or a value can't be.
    return statement === undefined ? MALFORMED : [1, 2, 3];
  }
  if (!same(member(wasSigned, "keyid"), member(signed, "keyid"))) return [2];
  return WRONG;
}

/** A tlog-proof: the log it names decides between a wrong one and an unknown one. */
function proofCodes(was: Json | undefined, is: Json | undefined): Codes {
  if (typeof was !== "string" || typeof is !== "string") return MALFORMED;
  const [a, b] = [was.split("\n"), is.split("\n")];
  if (a.length !== b.length) return [1, 3];
  const changed = a.flatMap((line, i) => (line === b[i] ? [] : [i]));
  const origin = a.indexOf("") + 1;
  return changed.includes(origin) ? [2, 3] : [1, 3];
}

function leavesCodes(was: Json | undefined, is: Json | undefined): Codes {
  const [before, after] = [was, is].map((each) => member(each, "leaves"));
  if (!Array.isArray(before) || !Array.isArray(after)) return MALFORMED;
  const isWell = (after as readonly Json[]).every((leaf) => {
    const salt = member(leaf, "salt");
    const names = typeof leaf === "object" && leaf !== null ? Object.keys(leaf).join(",") : "";
    return (
      names === "leaf,salt" &&
      typeof member(leaf, "leaf") === "string" &&
      isBase64(salt) &&
      Buffer.from(salt as string, "base64").length === 16
    );
  });
  return isWell && same(Object.keys(was as object), Object.keys(is as object)) ? WRONG : MALFORMED;
}

function headersCodes(is: Json | undefined): Codes {
  if (!Array.isArray(is)) return MALFORMED;
  const isWell = (is as readonly Json[]).every((item) => {
    const signature = member(item, "signature");
    const names = typeof item === "object" && item !== null ? Object.keys(item).join(",") : "";
    const isSignature =
      isBase64(signature) && Buffer.from(signature as string, "base64").length === 64;
    return names === "header,signature" && isBase64(member(item, "header")) && isSignature;
  });
  return isWell ? WRONG : MALFORMED;
}

/** What several changed parts may come to: whichever is found first. */
const either = (all: readonly Codes[]): Codes => [...new Set(all.flat())];

function bundleCodes(was: Json, is: Json): Codes {
  if (!sameNames(was, is) || !same(member(was, "format"), member(is, "format"))) return MALFORMED;
  const part = (name: string): readonly [Json | undefined, Json | undefined] => [
    member(was, name),
    member(is, name),
  ];
  const found: Codes[] = [];
  const [envelope, proof, headers, snapshot] = ["envelope", "proof", "headers", "snapshot"].map(
    part,
  );
  if (envelope && !same(...envelope)) found.push(envelopeCodes(...envelope));
  const [wasBatches, isBatches] = part("batches");
  // Base64 of something else: not signed, of no chain, or no batch at all.
  if (!same(wasBatches, isBatches)) {
    const isWell = Array.isArray(isBatches) && (isBatches as readonly Json[]).every(isBase64);
    found.push(isWell && isBatches.length > 0 ? [1, 3] : MALFORMED);
  }
  if (headers && !same(...headers)) found.push(headersCodes(headers[1]));
  if (snapshot && !same(...snapshot)) found.push(leavesCodes(...snapshot));
  if (proof && !same(...proof)) found.push(proofCodes(...proof));
  return either(found);
}

function decode(bytes: Uint8Array): Readonly<Record<string, unknown>> | undefined {
  try {
    return decodeCbor(bytes, 1 << 22, "file") as Readonly<Record<string, unknown>>;
  } catch {
    return undefined;
  }
}

function cborCodes(was: Uint8Array, is: Uint8Array): Codes {
  const [before, after] = [decode(was), decode(is)];
  if (before === undefined || after === undefined) return MALFORMED;
  const differs = (name: string): boolean =>
    Buffer.compare(
      Buffer.from(JSON.stringify(before[name] ?? null)),
      Buffer.from(JSON.stringify(after[name] ?? null)),
    ) !== 0;
  // Of the seal the key id and the space are policy, of the log its name.
  return differs("seal") || differs("log") ? [1, 2, 3] : [1, 3];
}

/** The right exit codes of a changed file. Mostly one; more where what is found first depends on a value that can't be. */
export function rightCodes(target: Target, was: Uint8Array, is: Uint8Array): Codes {
  if (target === "fact proof") return cborCodes(was, is);
  const [before, after] = [text(was), text(is)];
  if (before === undefined || after === undefined) return MALFORMED;
  if (target === "trust root") {
    try {
      const again = `${JSON.stringify(JSON.parse(after), undefined, 2)}\n`;
      // What reads as a root is one that its keys did not sign, or whose keys are not what they are called.
      return again === after ? [1, 2, 3] : MALFORMED;
    } catch {
      return MALFORMED;
    }
  }
  const [a, b] = [parse(before), parse(after)];
  if (a === undefined || b === undefined) return MALFORMED;
  if (target === "bundle") return bundleCodes(a, b);
  return sameNames(a, b) && same(member(a, "format"), member(b, "format")) ? [1, 2, 3] : MALFORMED;
}
