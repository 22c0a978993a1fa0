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
  /** Tags of one fact, ids in its basis, and models that it is for. */
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
  /** Prefixes that have schemas in a space; of more the first ones count, in their order. */
  schemaPrefixes: 256,
  /** Subschemas of one schema, each counted as often as it is referred to: bounds the steps for each part of a value. */
  schemaNodes: 1_000,
  /** Subschemas in one another. */
  schemaDepth: 32,
  /** Of them, branches of `anyOf`, `oneOf` and `allOf`: each may look at all of a value. */
  schemaBranches: 64,
  /** A regular expression of a schema, in characters. */
  patternLength: 512,
  /** Steps of a schema's expressions together, counted repetitions written out: what one character of a value costs at most. */
  patternSteps: 256,
  /** Items of a list whose items have to differ: each is compared with each. */
  uniqueItems: 256,
  /** Compiled schemas that a process keeps. */
  compiledSchemas: 1_024,
  /** Steps of comparing two schemas before it is given up. */
  schemaComparisons: 20_000,
  /** A module that decides, as WebAssembly: in base64 it has to go into one act, beside its parents. */
  moduleBytes: 32_768,
  /** Memory of a module, in pages of 64 KiB: 1 MiB. */
  moduleMemoryPages: 16,
  /** Steps of one call of a module: some 0.1 ms on a server, and about 1 ms on a small machine. */
  moduleSteps: 250_000,
  /** Values on the stack of a call, all frames together: an eighth of what the smallest stack of an engine holds. */
  moduleStackSlots: 16_384,
  /** What a call is told: candidates of a key that are more, or longer, are not decided by the module. */
  moduleInputBytes: 524_288,
  /** The name of a module, and what it says of a value that it does not admit, in UTF-16 code units. */
  moduleText: 200,
  /** Modules of a space; of more the first ones count, in the order of their hashes. */
  modules: 64,
  /** Modules that a process has compiled, with an instance each; past it the one used longest ago is compiled again when it is asked for. */
  preparedModules: 64,
  /** Answers of modules that are remembered for each space, by their input, where they took many steps: some 200 bytes each. */
  moduleAnswers: 32_768,
  /** Bytes of those inputs and answers together. */
  moduleAnswerBytes: 4_194_304,
  /** Slots of one document in a stored state. */
  slotsPerDocument: 4_194_304,
  /** State of one document: past it local writes get an error that names this limit (batches of others still apply, or replicas would differ). */
  documentBytes: 4_194_304,
  /** Encoded bytes of facts, and of rich content, that a node has open at a time, beside what it is at work on; the rest stays encoded. */
  openDocumentBytes: 67_108_864,
  /** Batches held for what they lack, over all devices. */
  heldBatches: 16_384,
  /** Bytes of held batches, over all devices. */
  heldBytes: 67_108_864,
  /** Held batches of one device: what it signs can't push out what others wait for. */
  heldBatchesPerDevice: 1_000,
  /** Bytes of held batches of one device. */
  heldBytesPerDevice: 8_388_608,
  /** A remote batch that would take a document past this is held: four times what an honest writer may reach, so that only a hostile chain stops. */
  documentHoldBytes: 16_777_216,
  /** Memory of one document's facts in the WebAssembly engine: `documentHoldBytes` of three-byte characters, once as slots, once encoded, and what growing takes. */
  wasmDocumentBytes: 201_326_592,
  /** Facts of a document up to which the WebAssembly engine leaves it in JavaScript, which takes less for it; so no more than `openDocumentBytes` / `smallDocumentBytes` instances are open. */
  smallDocumentBytes: 32_768,
  /** Creators of a space, fixed in its genesis. */
  creators: 8,
  /** Membership acts of a space: a thousand devices renewed monthly for a year. */
  acts: 16_384,
  /** Of them, those of one manager or one invite, so that neither can use up the room of all; creators have no such limit. */
  actsPerAuthor: 4_096,
  /** One membership act. */
  actBytes: 65_536,
  /** All membership acts of a space, which stay in memory. */
  actsBytes: 33_554_432,
  /** Parents of one membership act: a fleet that joins with one invite at the same moment leaves as many loose ends, and a revocation of the invite has to know them all. */
  actParents: 512,
  /** Chains named by one revocation; more of them are void from the start. */
  headsPerRevocation: 512,
  /** A device may connect this long after its grant ended, to hand over what it wrote and get a new one. */
  grantGraceMs: 2_592_000_000,
  /** Proofs of equivocation kept, one for each forked chain. */
  proofs: 16_384,
  /** Of them, those of one device: with so many nothing of it counts any more, and more say nothing new. */
  proofsPerDevice: 256,
  /** Headers of void batches kept without their bodies, because batches that count name them. */
  voidHeaders: 65_536,
  /** Their bytes in the store; about twice as many stay in memory. */
  voidHeaderBytes: 33_554_432,
  /** Of them, those that one device signed, so that it can't use up the room of all. */
  voidHeadersPerDevice: 16_384,
  /** And their bytes. */
  voidHeaderBytesPerDevice: 8_388_608,
  /** Devices that an invite's token says how to reach. */
  inviteContacts: 8,
  /** The address of one of those, in characters. */
  contactLength: 512,
  /** An invite's token, in characters. */
  inviteLength: 16_384,
  /** A remote clock may be this far ahead of ours before its batch is held. */
  clockAheadMs: 60_000,
  /** Local writes and received batches waiting for the store; past it callers wait or are told to. */
  queuedBatches: 8_192,
  /** Memory of those, in bytes, each way. */
  queuedBytes: 67_108_864,
  /** Bytes put into one atomic store write, unless one item alone is larger. */
  groupBytes: 4_194_304,
  /** Bytes that the bodies of received batches in one group unpack to, unless one alone has more: some 50 ms, for which local writes may wait. */
  groupUnpackedBytes: 524_288,
  /** Local write calls gathered into one atomic store write. */
  writesPerGroup: 1_024,
  /** Received batches put into one atomic store write. */
  batchesPerGroup: 256,
  /** Data keys of one store, whose wrapped form stays in memory: 350 bytes each, and room for 8,000 documents that are written every month for ten years. */
  dataKeys: 1_048_576,
  /** Data keys kept unwrapped for sealing, and as many for opening: past it the least recently used ones are unwrapped again, at some 30 us each. */
  openDataKeys: 4_096,
  /** Seals with one data key before the next epoch: random nonces are safe up to 2^32 (NIST SP 800-38D, 8.3). */
  dataKeySeals: 1_048_576,
  /** Bytes sealed with one data key before the next epoch; far below the 64 GiB of blocks that GCM allows for one nonce, and little to lose with one key. */
  dataKeyBytes: 1_073_741_824,
  /** Age of a data key at which the next epoch begins, in milliseconds: 30 days. */
  dataKeyMs: 2_592_000_000,
  /** Data keys wrapped anew in one atomic store write when the store key changes: some 10 ms in which nothing else is done. */
  rewrapsPerWrite: 512,
  /** Batches of the log, and bytes, behind the last checkpoint from which on the next one is due: some half a second of opening. */
  checkpointEveryBatches: 10_000,
  /** See `checkpointEveryBatches`. */
  checkpointEveryBytes: 4_194_304,
  /** A checkpoint may write this many times as much as was written since the last one; where it would be more, it waits. */
  checkpointCostFactor: 16,
  /** Batches behind the last checkpoint that are worth another one when a replica is closed. */
  checkpointBatchesAtClose: 1_000,
  /** The same in bytes: some 20,000 facts in batches of a hundred. */
  checkpointBytesAtClose: 524_288,
  /** Bytes of documents put into one atomic write of a checkpoint, unless one document alone is larger: some milliseconds. */
  checkpointChunkBytes: 262_144,
  /** Pruned batches, or states of documents that are not needed any more, removed in one atomic store write. */
  prunesPerWrite: 1_024,
  /** Rules of a subscription to a part of a space. */
  subscriptionRules: 64,
  /** Characters of its key patterns together: matching one key takes some microseconds. */
  subscriptionPatterns: 1_024,
  /** One part of a base, packed, and its manifest: as much as one answer with batches. */
  basePartBytes: 262_144,
  /** Parts of a base, so many that their manifest still is one. */
  baseParts: 4_096,
  /** All parts of a base; a space with more state than this is read batch by batch. */
  baseBytes: 268_435_456,
  /** Batches behind a remote from which on a base may be worth its bytes; fewer come in less than a second. */
  baseFromBatches: 2_000,
  /** How many times the bytes of a base the batches that it spares must have, unless they are not to be had. */
  baseGainFactor: 4,
  /** A base that somebody may be half through stays servable this long after a newer one was made, in milliseconds. */
  baseServedMs: 600_000,
  /** A hub makes a base at most this often, in milliseconds, whoever asks: that reads all that it has. */
  baseEveryMs: 60_000,
  /** Headers remembered of batches that lacked a body which is wanted, in case another one stands in the place of one. */
  glimpsedHeaders: 1_024,
  /** Bytes of those. */
  glimpsedBytes: 1_048_576,
  /** Header hashes remembered in memory; older ones are looked up in the store. */
  recentHashes: 65_536,
  /** Records in one call of an engine, and changes of its shared map. */
  engineEntries: 1_024,
  /** Bytes of those. */
  engineBytes: 8_388_608,
  /** Ids that an engine is asked for in one call. */
  engineFinds: 128,
  /** Whoever holds a lease, as text, in characters. */
  engineHolder: 128,
  /** One message of the sync protocol. */
  syncMessageBytes: 1_048_576,
  /** Batch bytes answered per request, so that a slow link is never more than this behind. */
  syncChunkBytes: 262_144,
  /** Chain heads in one frontier. */
  frontierHeads: 16_384,
  /** Writes of normal priority wait so long at most, in milliseconds, to share a batch while links with a budget have a backlog. */
  gatherNormalMs: 1_000,
  /** The same for writes of low priority. */
  gatherLowMs: 5_000,
  /**
   * Writes that come in quick succession wait so long at most for each other while links have time; less where a batch goes to few peers. Half of it
   * is what it adds to their way on the average, and ten facts a batch cost a tenth of what ten batches do.
   */
  gatherBriefMs: 10,
  /** Bytes handed to a channel that it has not taken yet: what is urgent waits for no more than that. */
  linkAheadBytes: 65_536,
  /** Bytes of pushes that one class of a link's queue holds; what finds no room is told of instead, and the peer pulls it. */
  linkQueueBytes: 2_097_152,
  /** The same on a link with a budget, as so many milliseconds of it. */
  linkQueueMs: 2_000,
  /** How long the head of a class waits at most while others are sent, in milliseconds. */
  linkStarvationMs: 10_000,
  /** Bytes queued to one peer before it is cut and has to reconcile again. */
  channelBufferBytes: 8_388_608,
  /** Bytes that wait to be sent over one WebSocket, before it is closed with 1013 and has to reconcile again. */
  socketBufferBytes: 4_194_304,
  /** Batches and other work that one device may hand us per second: five times a busy agent's 1,000 single writes, and half a core of signature checks. */
  peerBatchesPerSecond: 5_000,
  /** The same at once: a catch-up of 10,000 batches, and as much again while it runs, is not slowed. */
  peerBatchBurst: 20_000,
  /** Message bytes of one device per second: above what one disk takes in synced groups, so only a flood meets it. */
  peerBytesPerSecond: 16_777_216,
  /** The same at once: what the queue for the store may hold. */
  peerBytesBurst: 67_108_864,
  /** Signatures that are checked, and other work that batches make in the same unit, per second for all devices together: a hub with ten agents that write 1,000 batches each, and a fifth more. */
  nodeBatchesPerSecond: 12_000,
  /** The same at once: ten peers that each answer a catch-up of 10,000. */
  nodeBatchBurst: 100_000,
  /** Time for a peer to authenticate, from connect, in milliseconds. */
  handshakeMs: 5_000,
  /** Members whose signed addresses are kept and handed on; those met last stay. */
  knownPeers: 256,
  /** One member's signed addresses: eight take 400 bytes. */
  peerRecordBytes: 2_048,
  /** Addresses of one member that are dialled. */
  addressesPerPeer: 8,
  /** Addresses dialled in all, of those that members signed and again of those heard on the local network. */
  knownAddresses: 1_024,
  /** Agents that one relay keeps reachable: the members that a mesh remembers. */
  relayReservations: 256,
  /** Circuits of one relay, each between two agents; with `relayBacklogBytes` and the windows of streams some 1.5 MiB each at worst. */
  relayCircuits: 512,
  /** Bytes of one circuit, both ways, before it is cut and dialled anew: no mesh meets it often (11 minutes at 100 Mbit/s), and none lives on for ever. */
  relayCircuitBytes: 8_589_934_592,
  /** Life of one circuit, in milliseconds. */
  relayCircuitMs: 86_400_000,
  /** Life of a reservation, in milliseconds; agents renew it five minutes before its end. */
  relayReservationMs: 3_600_000,
  /** Bytes of one circuit, each way, that a relay has received and not passed on; past it the sender has to wait. */
  relayBacklogBytes: 262_144,
  /** Addresses of one relay under which an agent says that it is reachable. */
  addressesPerRelay: 3,
  /** Direct push up to this many peers; gossipsub beyond (it costs less there). */
  directPeers: 16,
  /** Once an agent gossips, it does so until it has this many peers less: none that come and go at the boundary make it change its ways. */
  carrierSlack: 4,
  /** One gossiped message: small batches whole; of larger ones the header alone, and who lacks the batch asks for it. */
  gossipBytes: 16_384,
  /** Announced batches that are waited for before the announcement is passed on, and gossiped ones under way into the replica. */
  gossipPending: 512,
  /** Of them, those that one peer brought. */
  gossipPendingPerPeer: 64,
  /** Devices of which it is remembered on which way their batches come, and those that one peer may name; past it the one heard longest ago is forgotten, and its batches are pulled. */
  routedDevices: 512,
  /** Reads of history under way: each goes through the log, and half a core is left for what is new. */
  historyScans: 2,
  /** Readers of events that read the log, and not what has just come: each keeps the facts that it follows. */
  eventReplays: 8,
  /** Changes that are kept for those who follow events; who falls further behind begins again from its last position. */
  eventTailChanges: 10_000,
  /** About the bytes of those changes. */
  eventTailBytes: 16_777_216,
  /** How long a reader of a stream of events may take nothing before it is cut, in milliseconds. */
  eventStallMs: 60_000,
  /** Reads of history, and of events, that wait for their turn; past it callers are told to come again. */
  queuedHistoryScans: 64,
  /** Writes that wait for a hub's or a seal's acknowledgement; each is a request that a caller keeps open. */
  ackWaits: 8_192,
  /** How long one of them waits unless its caller says otherwise, in milliseconds: a hub that is there answers within one. */
  ackDefaultMs: 10_000,
  /** The longest that one of them may wait, in milliseconds. */
  ackTimeoutMs: 600_000,
  /** How long a write's idempotency key is remembered, in milliseconds: a day. */
  idempotencyMs: 86_400_000,
  /** Idempotency keys that are remembered, some 400 bytes each; past it the oldest is forgotten. */
  idempotencyKeys: 32_768,
  /** An idempotency key, in characters. */
  idempotencyKeyLength: 255,
  /** Steps of one edit of rich content. */
  editSteps: 1_000,
  /** How long a read waits for the batches of a token, in milliseconds. */
  coverWaitMs: 10_000,
  /** Reads that wait so at a node. */
  coverWaiters: 1_024,
  /** How long a read or a write that a hub decides may take, in milliseconds. */
  askMs: 10_000,
  /** Questions of one remote that a node works on at a time, and those that it asks one remote. */
  asksPerRemote: 64,
  /** A question, or an answer to one: all heads of a frontier, or a fact and its value. */
  askBytes: 1_000_000,
  /** How stale a bounded read may be at most, in milliseconds: an hour. */
  stalenessMs: 3_600_000,
  /** Batches that one token names. */
  tokenPositions: 16,
  /** Clients of one MCP server on TCP; past it the session used longest ago is ended, since many clients go without a word. */
  mcpSessions: 64,
  /** Resources that one MCP client is told of when they change. */
  mcpSubscriptions: 1_024,
  /** A watcher's unread events before its stream is ended with an error. */
  watchQueueEvents: 10_000,
  /** Streams of changes and events that a node's local API has open at a time. */
  streamReaders: 1_024,
  /** A request body of the local API. */
  requestBytes: 8_388_608,
  /** A bundle file read by the auditor. */
  bundleBytes: 268_435_456,
  /** A fact proof: the chain heads of a seal of `frontierHeads`, and the candidates of one key. */
  factProofBytes: 4_194_304,
  /** Bytes of a bundle in one record of a hub's store: as large as the largest body. */
  bundlePartBytes: 1_048_576,
  /** A space file: `actsBytes` in base64, and what stands around each. */
  spaceFileBytes: 67_108_864,
  /** An access token: as much as servers take in a header. */
  tokenBytes: 8_192,
  /** Roles in one token. */
  tokenRoles: 32,
  /** A set of keys that tokens are signed with. */
  keySetBytes: 65_536,
  /** Keys in it that are looked at. */
  keySetKeys: 64,
  /** Revoked tokens and subjects. */
  revokedTokens: 65_536,
  /** Connections of one tenant to a hub. */
  tenantConnections: 1_024,
  /** Message bytes of one tenant per second: what a few hundred people at keyboards and a bulk load together send. */
  tenantBytesPerSecond: 8_388_608,
  /** The same at once. */
  tenantBurstBytes: 16_777_216,
  /** Bytes of one tenant that wait for their turn. */
  tenantQueuedBytes: 16_777_216,
  /** A log's checkpoint with its signature lines: 64 of ML-DSA-44, four times what C2SP asks readers to take. */
  checkpointBytes: 262_144,
  /** Tiles of a log that a reader keeps checked, 8 KiB each. */
  checkedTiles: 256,
  /** Checkpoints that wait at a witness for their turn, each with some milliseconds of work; past it whoever asks is told to come again. */
  witnessQueue: 64,
  /** What one editor says of itself to the others of a document, as JSON: a cursor takes two hundred bytes. */
  presenceBytes: 8_192,
  /** Editors that have left a document and are remembered, so that nobody brings them back. */
  presenceLeft: 1_024,
  /** Bytes of an editor that wait to be written into a document, before no more of it is read. */
  editorQueueBytes: 262_144,
  /** Encoded bytes of projections that nobody has open; past it the one closed longest ago is dropped. */
  projectionBytes: 67_108_864,
  /** Client ids of Yjs that one subject may write under in a document: each costs every transaction there, for good. What it hands over of pages of others has as many once more, for all. */
  clientsPerSubject: 1_024,
  /** Documents that Yjs clients have open at a node: each is in memory once more, with its facts. */
  openProjections: 4_096,
  /** A trust root or key file. */
  smallFileBytes: 1_048_576,
} as const;
