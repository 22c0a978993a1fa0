// SPDX-License-Identifier: Apache-2.0
/** Acceptance suites of the ports, in-memory implementations with faults, and test helpers. Development only. */
export { createTestCertificate } from "./certificates.ts";
export type { TestCertificate, TestCertificateOptions } from "./certificates.ts";
export { createChannelPair } from "./channel-pair.ts";
export type { ChannelPair } from "./channel-pair.ts";
export { runChannelTests } from "./channel-suite.ts";
export type { ChannelPairUnderTest } from "./channel-suite.ts";
export {
  createRecordingLogger,
  createSeededRandom,
  createVirtualClock,
  silentLogger,
} from "./deterministic.ts";
export type { LogEntry, RecordingLogger, VirtualClock } from "./deterministic.ts";
export { runEngineTests } from "./engine-suite.ts";
export type { EngineUnderTest } from "./engine-suite.ts";
export { MemoryEngineData, createMemoryEngine } from "./memory-engine.ts";
export { createLinkEmulator } from "./link-emulator.ts";
export type {
  FlapSchedule,
  LinkEmulator,
  LinkForward,
  LinkOptions,
  LinkSocket,
  LinkWay,
} from "./link-emulator.ts";
export { LinkDirection, PERFECT_LINK, SEGMENT_BYTES } from "./link-emulator-direction.ts";
export type {
  DirectionCounters,
  LinkSettings,
  Segment,
  SegmentKind,
} from "./link-emulator-direction.ts";
export { createMemoryStore } from "./memory-store.ts";
export type { MemoryStore, MemoryStoreFaults } from "./memory-store.ts";
export { runStoreTests } from "./store-suite.ts";
export type { StoreUnderTest } from "./store-suite.ts";
export { tempDir, waitFor } from "./wait.ts";
export type { TempDir } from "./wait.ts";
