// SPDX-License-Identifier: Apache-2.0
/** Nouns, limits, error codes and ports. Everything else depends on this; this depends on nothing. */
export type { Access, AccessQuery, Authorization, Authorizer } from "./authorization.ts";
export { ERROR_CODES, EXIT, MeshError, toMeshError } from "./errors.ts";
export type { MeshErrorCode, MeshErrorDetails } from "./errors.ts";
export type {
  AckLevel,
  Candidate,
  FactInput,
  FactSource,
  Standing,
  VisibleFact,
  Priority,
  WriteOptions,
  WriteReceipt,
} from "./facts.ts";
export type {
  CallOff,
  CancelSignal,
  HistoryEntry,
  HistoryQuery,
  HistoryService,
  KeyHistory,
  Reach,
  RetractionEntry,
  StatementEntry,
} from "./history.ts";
export { EVENT_TYPES, isTraceparent } from "./events.ts";
export type {
  BeginNote,
  EventData,
  EventItem,
  EventQuery,
  EventService,
  EventStreamOptions,
  EventType,
  FactEvent,
  RejudgedNote,
} from "./events.ts";
export type { ClientHolder, Projection, Projections, ProjectionWriter } from "./projection.ts";
export type { Guest, GuestSocket } from "./guests.ts";
export { HLC_COUNTERS_PER_MS, HLC_EPOCH_MS, hlcFromMs, hlcToMs, isHlc } from "./hlc.ts";
export type { Hlc } from "./hlc.ts";
export {
  fromHex,
  parseActId,
  parseDeviceKey,
  parseDocumentName,
  parseHeaderHash,
  parseIncarnationId,
  parseSpaceId,
  toHex,
} from "./ids.ts";
export type { ActId, DeviceKey, DocumentName, HeaderHash, IncarnationId, SpaceId } from "./ids.ts";
export { formatInstant, parseInstant } from "./instant.ts";
export type { JsonValue } from "./json.ts";
export type {
  CompareOptions,
  CompareReceipt,
  Consistency,
  LevelService,
  LeveledFact,
  LeveledFacts,
  ReadLevel,
  ReadOrigin,
} from "./levels.ts";
export { LIMITS } from "./limits.ts";
export { isModuleName } from "./schemas.ts";
export type {
  ModuleReport,
  ModuleStatus,
  SchemaCheck,
  SchemaCompatibility,
  SchemaDifference,
  SchemaEntry,
  SchemaReport,
  SchemaService,
} from "./schemas.ts";
export type {
  FetchQuery,
  FetchReport,
  OmissionQuery,
  OmissionReport,
  OmittedDocumentReport,
  OmittedSectionReport,
  PartialService,
  PartialSummary,
} from "./partial.ts";
export { parseSubscription, parseSubscriptionRules, subscriptionRules } from "./subscription.ts";
export type { Subscription } from "./subscription.ts";
export { HOLDS, REFUSALS } from "./outcomes.ts";
export type { Hold, ReceiveCounters, ReceiveOutcome, Refusal } from "./outcomes.ts";
export type {
  Channel,
  ChannelSecurity,
  Clock,
  DeviceSigner,
  Logger,
  RandomSource,
  Remote,
  SignatureVerifier,
  Store,
  StoreChange,
  StoreRange,
  Transport,
  Vault,
  VaultScope,
} from "./ports.ts";
export type {
  DocumentQuery,
  DocumentService,
  DocumentSummary,
  FactChanges,
  RootContent,
  RootEdit,
  TextStep,
} from "./documents.ts";
export type {
  Engine,
  EngineEntry,
  EngineRecord,
  EngineRecordKind,
  EngineWrite,
  Fence,
  Lease,
} from "./engine.ts";
export type { HintBus } from "./hints.ts";
export { formatFrontierToken, parseFrontierToken } from "./frontier-token.ts";
export type { ChainPosition } from "./frontier-token.ts";
export type {
  DecisionCheck,
  DecisionOptions,
  DecisionReceipt,
  DecisionRequest,
  DecisionService,
} from "./decisions.ts";
export type { CareService, KeysReport, RewrapReport, ScrubReport } from "./care.ts";
export type {
  LinkClass,
  LinkQueue,
  LinkRate,
  LinkReport,
  PeerStatus,
  RelayStatus,
  TransportStatus,
} from "./link-reports.ts";
export type {
  ActsReceipt,
  ChainReport,
  EvidenceReport,
  FilteredActReport,
  GrantReport,
  InviteReport,
  MemberReport,
  MemberRole,
  MemberState,
  MembershipReport,
  MembershipService,
  MembershipSummary,
  RevocationReport,
} from "./membership-reports.ts";
export type {
  AckProgress,
  AckSummary,
  ChangeEvent,
  ContextService,
  EngineReport,
  LatencySummary,
  ListQuery,
  NodeStatus,
  SealReceipt,
  SealingService,
  WatchQuery,
} from "./service.ts";
