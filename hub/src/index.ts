// SPDX-License-Identifier: Apache-2.0
/** The hub: a replica with a door for agents, a sealer and a log. */
export type { HubAuth } from "./authorizing.ts";
export type { HubWitness } from "./cosigning.ts";
export { createHub } from "./hub.ts";
export type { Hub, HubOptions } from "./hub.ts";
export type { HubAsWitness } from "./log-door.ts";
export { Sealer } from "./sealer.ts";
export type { SealKeys, SealerOptions } from "./sealer.ts";
export { createWitnessProgram } from "./witness-program.ts";
export type { WitnessProgram, WitnessProgramOptions } from "./witness-program.ts";
