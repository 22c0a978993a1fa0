// SPDX-License-Identifier: Apache-2.0
/**
 * The few functions of a PKCS#11 module (OASIS PKCS#11 2.40, "Cryptoki") that wrapping a key takes,
 * called through koffi on a thread of their own, so that a slow device stops nothing else. Numbers
 * are those of pkcs11t.h; structures are laid out as on 64-bit Unix.
 */
import type * as Koffi from "koffi";
import { MeshError } from "@ctxmesh/model";

/** A CK_ULONG as koffi gives it: a session, slot, object or count. */
export type Handle = number | bigint;

/** A CK_ATTRIBUTE. */
export interface Attribute {
  readonly type: number;
  readonly pValue: Uint8Array;
  readonly ulValueLen: number;
}

/** A CK_MECHANISM without parameter. */
export interface Mechanism {
  readonly mechanism: number;
  readonly pParameter: null;
  readonly ulParameterLen: 0;
}

/** Return values that mean something here. */
export const CKR = {
  ok: 0x0,
  slotIdInvalid: 0x3,
  deviceError: 0x30,
  deviceMemory: 0x31,
  deviceRemoved: 0x32,
  pinIncorrect: 0xa0,
  pinLocked: 0xa4,
  tokenNotPresent: 0xe0,
  tokenNotRecognized: 0xe1,
  userAlreadyLoggedIn: 0x100,
  cryptokiAlreadyInitialized: 0x191,
} as const;

/** A function of {@link Pkcs11Module}. */
export type FunctionName =
  | "C_Initialize"
  | "C_GetSlotList"
  | "C_GetTokenInfo"
  | "C_OpenSession"
  | "C_CloseSession"
  | "C_Login"
  | "C_CreateObject"
  | "C_DestroyObject"
  | "C_GetAttributeValue"
  | "C_FindObjectsInit"
  | "C_FindObjects"
  | "C_FindObjectsFinal"
  | "C_WrapKey"
  | "C_UnwrapKey";

type Callback = (error: unknown, result: Handle) => void;
interface NativeFunction {
  async(...args: readonly unknown[]): void;
}

/** A module that is loaded and initialized. Every function resolves to its CK_RV. */
export interface Pkcs11Module {
  readonly path: string;
  call(name: FunctionName, ...args: readonly unknown[]): Promise<number>;
}

const ULONG = "unsigned long";
/** Place in CK_FUNCTION_LIST (pkcs11f.h counts from C_Initialize), and parameters. */
const FUNCTIONS: Readonly<
  Record<FunctionName, readonly [place: number, parameters: readonly string[]]>
> = {
  C_Initialize: [0, ["CK_C_INITIALIZE_ARGS *"]],
  C_GetSlotList: [4, ["uint8_t", "_Out_ unsigned long *", "_Inout_ unsigned long *"]],
  C_GetTokenInfo: [6, [ULONG, "_Out_ void *"]],
  C_OpenSession: [12, [ULONG, ULONG, "void *", "void *", "_Out_ unsigned long *"]],
  C_CloseSession: [13, [ULONG]],
  C_Login: [18, [ULONG, ULONG, "const void *", ULONG]],
  C_CreateObject: [20, [ULONG, "CK_ATTRIBUTE *", ULONG, "_Out_ unsigned long *"]],
  C_DestroyObject: [22, [ULONG, ULONG]],
  C_GetAttributeValue: [24, [ULONG, ULONG, "_Inout_ CK_ATTRIBUTE *", ULONG]],
  C_FindObjectsInit: [26, [ULONG, "CK_ATTRIBUTE *", ULONG]],
  C_FindObjects: [27, [ULONG, "_Out_ unsigned long *", ULONG, "_Out_ unsigned long *"]],
  C_FindObjectsFinal: [28, [ULONG]],
  C_WrapKey: [
    60,
    [ULONG, "CK_MECHANISM *", ULONG, ULONG, "_Out_ void *", "_Inout_ unsigned long *"],
  ],
  C_UnwrapKey: [
    61,
    [
      ULONG,
      "CK_MECHANISM *",
      ULONG,
      "const void *",
      ULONG,
      "CK_ATTRIBUTE *",
      ULONG,
      "_Out_ unsigned long *",
    ],
  ],
};

/** CK_FUNCTION_LIST begins with a CK_VERSION, padded to the size of a pointer. */
const LIST_HEAD_BYTES = 8;
const POINTER_BYTES = 8;
/** The module may use the locks of the operating system: calls come from several threads. */
const CKF_OS_LOCKING_OK = 2;

const loaded = new Map<string, Promise<Pkcs11Module>>();

/** Loads and initializes the module in a shared library, once for a process. Throws `FILE_UNAVAILABLE`, `UNREACHABLE` when it won't start. */
export async function loadPkcs11Module(path: string): Promise<Pkcs11Module> {
  let module = loaded.get(path);
  if (module === undefined) {
    module = load(path);
    loaded.set(path, module);
    module.catch(() => loaded.delete(path));
  }
  return await module;
}

/** koffi's module, loaded when a token is configured and not before. */
let koffi: Promise<typeof Koffi> | undefined;

async function loadKoffi(): Promise<typeof Koffi> {
  const library = await import("koffi");
  const pointer = "void *";
  library.struct("CK_ATTRIBUTE", { type: ULONG, pValue: pointer, ulValueLen: ULONG });
  library.struct("CK_MECHANISM", {
    mechanism: ULONG,
    pParameter: pointer,
    ulParameterLen: ULONG,
  });
  library.struct("CK_C_INITIALIZE_ARGS", {
    CreateMutex: pointer,
    DestroyMutex: pointer,
    LockMutex: pointer,
    UnlockMutex: pointer,
    flags: ULONG,
    pReserved: pointer,
  });
  return library;
}

async function load(path: string): Promise<Pkcs11Module> {
  const functions = await bind(path);
  const module: Pkcs11Module = {
    path,
    call: (name, ...args) =>
      new Promise((resolve, reject) => {
        const done: Callback = (error, result) => {
          if (error === null || error === undefined) resolve(Number(result));
          else reject(error instanceof Error ? error : new Error(`${name} failed`));
        };
        functions[name].async(...args, done);
      }),
  };
  const result = await module.call("C_Initialize", {
    CreateMutex: null,
    DestroyMutex: null,
    LockMutex: null,
    UnlockMutex: null,
    flags: CKF_OS_LOCKING_OK,
    pReserved: null,
  });
  if (result === CKR.ok || result === CKR.cryptokiAlreadyInitialized) return module;
  throw new MeshError(
    "UNREACHABLE",
    `the PKCS#11 module ${path} does not start: CKR 0x${result.toString(16)}`,
    { remedy: "check the module's own configuration" },
  );
}

async function bind(path: string): Promise<Readonly<Record<FunctionName, NativeFunction>>> {
  try {
    koffi ??= loadKoffi();
    const library = await koffi;
    if (library.sizeof(ULONG) !== POINTER_BYTES) throw new Error("only on 64-bit Unix");
    const getList = library
      .load(path)
      .func("unsigned long C_GetFunctionList(_Out_ void **list)") as (list: unknown[]) => Handle;
    const list: unknown[] = [null];
    if (Number(getList(list)) !== CKR.ok) throw new Error("C_GetFunctionList failed");
    const entries = Object.entries(FUNCTIONS).map(([name, [index, parameters]]) => {
      const at = LIST_HEAD_BYTES + POINTER_BYTES * index;
      const pointer: unknown = library.decode(list[0], at, "void *");
      const type = library.proto(
        `unsigned long ${name}_${String(prototypes++)}(${parameters.join(", ")})`,
      );
      return [name, library.decode(pointer, type)] as const;
    });
    return Object.fromEntries(entries) as Record<FunctionName, NativeFunction>;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MeshError("FILE_UNAVAILABLE", `can't load the PKCS#11 module ${path}: ${reason}`, {
      remedy: "give the path of the token vendor's shared library (.so)",
      cause: error,
    });
  }
}

/** Names of prototypes are global in koffi. */
let prototypes = 0;
