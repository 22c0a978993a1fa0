// SPDX-License-Identifier: Apache-2.0
/**
 * A key in a hardware token, behind a PKCS#11 module. The store key is wrapped with CKM_AES_KEY_WRAP
 * (RFC 3394) by an AES key that never leaves the token.
 */
import { MeshError } from "@ctxmesh/model";
import { KEY_BYTES } from "./key-wrap.ts";
import type { Attribute, FunctionName, Handle, Mechanism, Pkcs11Module } from "./pkcs11-module.ts";
import { CKR, loadPkcs11Module } from "./pkcs11-module.ts";
import type { KeyProvider } from "./provider.ts";

/** Where a token's key is. */
export interface Pkcs11Options {
  /** Path of the module: the vendor's shared library. */
  readonly module: string;
  /** The token: the id of its slot, or its label. Give one. */
  readonly slot?: number;
  readonly tokenLabel?: string;
  /** The user PIN. A wrong one counts against the token's limit of tries, so it is tried once for each call. */
  readonly pin: string;
  /** CKA_LABEL of the AES key, which must have CKA_WRAP and CKA_UNWRAP. */
  readonly keyLabel: string;
}

const CKF_SERIAL_SESSION = 4;
const CKU_USER = 1;
const CKM_AES_KEY_WRAP = 0x2109;
const WRAP: Mechanism = { mechanism: CKM_AES_KEY_WRAP, pParameter: null, ulParameterLen: 0 };
/** CK_TOKEN_INFO is smaller; its first 32 bytes are the label, padded with blanks. */
const TOKEN_INFO_BYTES = 512;
const LABEL_BYTES = 32;
const MAX_SLOTS = 256;
const MAX_WRAPPED_BYTES = 1_024;

const CKA = {
  class: 0x0,
  token: 0x1,
  label: 0x3,
  value: 0x11,
  keyType: 0x100,
  sensitive: 0x103,
  extractable: 0x162,
} as const;
const CKO_SECRET_KEY = 4;
const CKK_AES = 0x1f;

/** Trouble with the device itself, which may pass. */
const DEVICE_TROUBLE: ReadonlySet<number> = new Set([
  CKR.deviceError,
  CKR.deviceMemory,
  CKR.deviceRemoved,
  CKR.tokenNotPresent,
  CKR.tokenNotRecognized,
]);

/**
 * A key in a token. Its calls throw `FILE_UNAVAILABLE` when the module can't be loaded, `UNREACHABLE`
 * when the token is not there or fails, `KEY_INVALID` for a wrong PIN, a missing key, a key that
 * can't wrap, and what another key wrapped. 64-bit Unix only.
 */
export function pkcs11KeyProvider(options: Pkcs11Options): KeyProvider {
  const { slot, tokenLabel, keyLabel } = options;
  if ((slot === undefined) === (tokenLabel === undefined)) {
    throw new MeshError("CONFIG_INVALID", "a PKCS#11 token is named by its slot or by its label");
  }
  const id = `pkcs11:${tokenLabel ?? `slot ${String(slot)}`}/${keyLabel}`;
  return {
    id,
    wrap: (key) => withToken(id, options, (token) => wrap(token, key)),
    unwrap: (wrapped) => withToken(id, options, (token) => unwrap(token, wrapped)),
  };
}

/** A session in which the user is logged in. */
interface Token {
  /** Calls a function; throws for every result but CKR_OK and `accepted`. */
  readonly call: (name: FunctionName, args: readonly unknown[], accepted?: number) => Promise<void>;
  readonly session: Handle;
  readonly wrappingKey: Handle;
}

async function withToken(
  id: string,
  options: Pkcs11Options,
  work: (token: Token) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const module = await loadPkcs11Module(options.module);
  const call: Token["call"] = async (name, args, accepted = CKR.ok) => {
    const result = await module.call(name, ...args);
    if (result !== CKR.ok && result !== accepted) throw callError(id, name, result);
  };
  const slot = options.slot ?? (await findSlot(id, module, call, options.tokenLabel ?? ""));
  const opened: Handle[] = [0];
  await call("C_OpenSession", [slot, CKF_SERIAL_SESSION, null, null, opened]);
  const session = opened[0] ?? 0;
  try {
    const pin = Buffer.from(options.pin);
    await call("C_Login", [session, CKU_USER, pin, pin.length], CKR.userAlreadyLoggedIn);
    const wrappingKey = await findKey(id, call, session, options.keyLabel);
    return await work({ call, session, wrappingKey });
  } finally {
    // The last session of a token that is closed logs the user out; objects of the session go with it.
    await module.call("C_CloseSession", session);
  }
}

async function findSlot(
  id: string,
  module: Pkcs11Module,
  call: Token["call"],
  label: string,
): Promise<Handle> {
  const slots = new BigUint64Array(MAX_SLOTS);
  const count: Handle[] = [MAX_SLOTS];
  await call("C_GetSlotList", [1, slots, count]);
  for (const slot of slots.subarray(0, Number(count[0]))) {
    const info = Buffer.alloc(TOKEN_INFO_BYTES);
    if ((await module.call("C_GetTokenInfo", slot, info)) !== CKR.ok) continue;
    if (info.toString("utf8", 0, LABEL_BYTES).trimEnd() === label) return slot;
  }
  throw new MeshError("UNREACHABLE", `${id}: no token has the label ${JSON.stringify(label)}`, {
    remedy: "check that the token is plugged in, and its label (pkcs11-tool --list-token-slots)",
  });
}

async function findKey(
  id: string,
  call: Token["call"],
  session: Handle,
  label: string,
): Promise<Handle> {
  const template = [ulong(CKA.class, CKO_SECRET_KEY), attribute(CKA.label, Buffer.from(label))];
  await call("C_FindObjectsInit", [session, template, template.length]);
  const found = new BigUint64Array(2);
  const count: Handle[] = [0];
  await call("C_FindObjects", [session, found, found.length, count]);
  await call("C_FindObjectsFinal", [session]);
  if (Number(count[0]) === 1) return found[0] ?? 0;
  const what = Number(count[0]) === 0 ? "no secret key has" : "several secret keys have";
  throw new MeshError("KEY_INVALID", `${id}: ${what} the label ${JSON.stringify(label)}`, {
    remedy: `make one: pkcs11-tool --login --keygen --key-type AES:32 --label ${label}, with the right to wrap and unwrap`,
  });
}

async function wrap({ call, session, wrappingKey }: Token, key: Uint8Array): Promise<Uint8Array> {
  // Only what is an object in the token can be wrapped there.
  const value = Buffer.from(key);
  const template = [...keyTemplate(), attribute(CKA.value, value)];
  const object: Handle[] = [0];
  await call("C_CreateObject", [session, template, template.length, object]);
  value.fill(0);
  const wrapped = Buffer.alloc(MAX_WRAPPED_BYTES);
  const length: Handle[] = [wrapped.length];
  await call("C_WrapKey", [session, WRAP, wrappingKey, object[0], wrapped, length]);
  await call("C_DestroyObject", [session, object[0]]);
  return wrapped.subarray(0, Number(length[0]));
}

async function unwrap(
  { call, session, wrappingKey }: Token,
  wrapped: Uint8Array,
): Promise<Uint8Array> {
  const template = keyTemplate();
  const input = Buffer.from(wrapped);
  const object: Handle[] = [0];
  await call("C_UnwrapKey", [
    session,
    WRAP,
    wrappingKey,
    input,
    input.length,
    template,
    template.length,
    object,
  ]);
  const key = Buffer.alloc(KEY_BYTES);
  await call("C_GetAttributeValue", [session, object[0], [attribute(CKA.value, key)], 1]);
  await call("C_DestroyObject", [session, object[0]]);
  return key;
}

/** A key of this session alone, whose value we bring in or take out. */
function keyTemplate(): Attribute[] {
  return [
    ulong(CKA.class, CKO_SECRET_KEY),
    ulong(CKA.keyType, CKK_AES),
    flag(CKA.token, false),
    flag(CKA.sensitive, false),
    flag(CKA.extractable, true),
  ];
}

const attribute = (type: number, value: Uint8Array): Attribute => ({
  type,
  pValue: value,
  ulValueLen: value.length,
});

const flag = (type: number, value: boolean): Attribute => attribute(type, Buffer.of(value ? 1 : 0));

const ulong = (type: number, value: number): Attribute =>
  attribute(type, new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));

function callError(id: string, name: FunctionName, result: number): MeshError {
  const code = `CKR 0x${result.toString(16)}`;
  if (result === CKR.pinIncorrect || result === CKR.pinLocked) {
    const state = result === CKR.pinLocked ? "locked" : "wrong";
    return new MeshError("KEY_INVALID", `${id}: the PIN is ${state}`, {
      remedy: "correct the PIN before the next start: tokens lock after a few wrong ones",
    });
  }
  if (DEVICE_TROUBLE.has(result) || result === CKR.slotIdInvalid) {
    return new MeshError("UNREACHABLE", `${id}: the token does not answer (${name}, ${code})`);
  }
  if (name === "C_UnwrapKey") {
    return new MeshError(
      "KEY_INVALID",
      `${id} is not the key that the store key is wrapped with (${code})`,
    );
  }
  return new MeshError("KEY_INVALID", `${id}: ${name} failed (${code})`);
}
