// SPDX-License-Identifier: Apache-2.0

/** Every size, depth, count and time limit, with the reason for its value. Sizes are bytes unless the name says otherwise. */
export const LIMITS = {
  /** One signed batch on the wire; keeps a bad peer's cost per message far below one sync interval. */
  batchBytes: 262_144,
  /** Sections (documents touched) in one batch. */
  sectionsPerBatch: 256,
  /** Dependencies named by one header; more unreferenced heads wait for the next batch. */
  depsPerBatch: 32,
  /** A section's body after decompression; bounds what a compression bomb can cost. */
  bodyBytes: 1_048_576,
  /** Facts in one frame. */
  factsPerFrame: 10_000,
  /** Facts in one local write call. */
  factsPerWrite: 1_000,
  /** Facts of one local write call, encoded and uncompressed; leaves room for header and framing in a batch. */
  writeBytes: 196_608,
  /** A fact's key, in UTF-8 bytes. */
  keyBytes: 512,
  /** A fact's value as canonical JSON; larger content belongs in rich content or outside. */
  valueBytes: 65_536,
  /** Nesting of a JSON value or of any CBOR item. */
  depth: 64,
  /** Tags of one fact, and ids in its basis. */
  tagsPerFact: 16,
  /** A tag, or one field of a source. */
  tagBytes: 128,
  /** The reason of a retraction, in UTF-8 bytes. */
  reasonBytes: 512,
  /** Rules of a space's policy. */
  policyRules: 256,
  /** A resolver expression, in characters. */
  expressionLength: 1_000,
  /** Nodes of a parsed resolver expression: it has no loops, so this bounds its steps. */
  expressionNodes: 200,
  /** Slots of one document in a stored state. */
  slotsPerDocument: 4_194_304,
  /** State of one document: past it local writes get an error that names this limit (batches of others still apply, or replicas would differ). */
  documentBytes: 4_194_304,
  /** Batches held for a missing predecessor or dependency, over all peers. */
  heldBatches: 4_096,
  /** Bytes of held batches, over all peers. */
  heldBytes: 16_777_216,
  /** A remote clock may be this far ahead of ours before its batch is held. */
  clockAheadMs: 60_000,
  /** Local writes and received batches waiting for the store; past it callers wait or are told to. */
  queuedBatches: 8_192,
  /** Memory of those, in bytes, each way. */
  queuedBytes: 67_108_864,
  /** Bytes put into one atomic store write, unless one item alone is larger. */
  groupBytes: 4_194_304,
  /** Local write calls gathered into one atomic store write. */
  writesPerGroup: 1_024,
  /** Received batches put into one atomic store write. */
  batchesPerGroup: 256,
  /** Header hashes remembered in memory; older ones are looked up in the store. */
  recentHashes: 65_536,
  /** One message of the sync protocol. */
  syncMessageBytes: 1_048_576,
  /** Batch bytes answered per request, so that a slow link is never more than this behind. */
  syncChunkBytes: 262_144,
  /** Chain heads in one frontier. */
  frontierHeads: 16_384,
  /** Bytes queued to one peer before it is cut and has to reconcile again. */
  channelBufferBytes: 8_388_608,
  /** Time for a peer to authenticate, from connect, in milliseconds. */
  handshakeMs: 5_000,
  /** Direct push up to this many peers; gossipsub beyond (it costs less there). */
  directPeers: 16,
  /** A watcher's unread events before its stream is ended with an error. */
  watchQueueEvents: 10_000,
  /** A request body of the local API. */
  requestBytes: 8_388_608,
  /** A bundle file read by the auditor. */
  bundleBytes: 268_435_456,
  /** A trust root, key or space file. */
  smallFileBytes: 1_048_576,
} as const;
