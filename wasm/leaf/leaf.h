// SPDX-License-Identifier: Apache-2.0
// The program is one translation unit: types here, then the parts, as main.c includes them, from the bottom up. Each part's formats are in the
// first comment of its file.
#ifndef LEAF_H
#define LEAF_H

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <zstd.h>


#define VERSION "0.1.0"
#define MAX_SAFE 9007199254740991u // the largest integer of any of our formats, 2^53 - 1
// As in packages/model/src/limits.ts.
#define BATCH_BYTES 262144u
#define SECTIONS 256u
#define DEPS 32u
#define BODY_BYTES 1048576u
#define FACTS_PER_FRAME 10000u
#define WRITE_BYTES 196608u
#define KEY_BYTES 512u
#define VALUE_BYTES 65536u
#define DOCUMENT_BYTES 4194304u
#define DOCUMENT_HOLD_BYTES 16777216u
#define CLOCK_AHEAD_MS 60000u
#define MESSAGE_BYTES 1048576u
#define CHUNK_BYTES 262144u
// Of a leaf alone.
#define CHAINS 8192u             // as many heads as one message may have
#define OWN_CHAINS 256u          // of them, which others leave to us: each start may take one
#define DOCUMENTS 1024u
#define MEMORY_BYTES 268435456.0 // of all documents
#define CLIENTS 64u
#define DOC_BYTES 200u
#define CHAIN_BYTES 48u // device (32), incarnation (16)
#define HLC_EPOCH_MS 1577836800000u

typedef struct { const uint8_t *p; size_t len; } span; // borrowed
typedef struct { uint8_t *p; size_t len, cap; } buf;   // owned
typedef struct { const uint8_t *at, *end; bool bad; } reader; // the first error sticks: from there on reads give 0 and move nothing
#define SPAN(b) ((span){(b).p, (b).len})
#define TEXT(s) ((span){(const uint8_t *)(s), strlen(s)})

// ---- bytes.c

// ---- facts.c
enum { DELETED = 1, CONFIDENCE = 2, SOURCE = 4, TTL = 8, TAGS = 16, BASIS = 32, RETRACT = 64, MORE = 128 };
typedef struct {
  uint8_t flags;
  uint64_t seq, hlc, ttl_ms, up_to;
  span key, value;
  double confidence;
  const uint8_t *ruled; // the writer whose statements a retraction takes back, up to `up_to`
} fact;
typedef struct { uint64_t from, to, left; fact f; } frame; // f: the record read last

// ---- core.c: an instance of the facts core is a document. Results below 0 are errors; answers last until the next call.
typedef struct core core;

// ---- batch.c
typedef struct {
  span doc, body; // body.p is NULL where it is left out
  uint64_t from, to, until, body_len;
  const uint8_t *body_hash;
  bool rich, encrypted, has_until;
} section;
typedef struct { // borrows the bytes that it was read from
  span bytes, header;
  const uint8_t *signature, *space, *prev, *deps[DEPS];
  uint8_t chain[CHAIN_BYTES], hash[32];
  uint64_t seq, hlc, lane, dep_count, section_count;
  section sections[SECTIONS];
} batch;

// ---- store.c
typedef struct { char dir[400]; int dir_fd, fd; uint64_t size; uint8_t id[16], key[32]; } store;
enum record { RECORD_OK, RECORD_END, RECORD_TORN, RECORD_DAMAGED };
#define STORE_FIRST 32u // where the first record is

// ---- replica.c, write.c
typedef struct { uint64_t seq, hlc; uint8_t hash[32]; } position;
typedef struct { // what one device wrote in one process life
  uint8_t key[CHAIN_BYTES];
  uint32_t id;
  position at, tail;           // applied; with what is written next
  uint64_t limit;              // the first seq that does not count
  uint64_t said_seq, sent;     // what the parent has, as far as it is known in this session, and what it was sent
  uint64_t told;               // our head as the parent was told it in a list
  uint64_t asked, want_from, want_to; // tail_seq + 1 when it was pulled; what the parent pulls
  span grants;                 // of its device, in the roster
  bool named, tell, stuck;     // a later batch names the head; the parent is to be told; nothing came of a pull
} chain;
typedef struct {
  char name[DOC_BYTES + 1];
  core *core;
  uint64_t own_to, drafts, draft_hlc; // own_to: the last fact here of the chain that we write
  buf draft; // records that are written next
  bool failed;
} document;
typedef struct { uint32_t chain, seq; uint64_t where; } entry; // twice the offset of the record, odd where a body is left out
enum standing { STANDS, STANDS_LATER, STRANGER, IS_VOID };

// ---- link.c, session.c, local.c
enum phase { IDLE, CONNECTING, GREETING, OPEN };
typedef struct {
  enum phase phase;
  int fd;
  uint8_t hello[98], ephemeral[32], keys[2][32]; // X25519 secret; of what is sent, and received
  uint64_t frames[2], due_ms, back_off_ms, since_ms, heard_ms, sent_ms, refused;
  buf in, out;
  // The session.
  bool greeted, compared, heads_heard, pulling, asking, owes_ask;
  uint8_t records[16], told[32]; // the parent's digest over its records; ours over our heads, as it was told
  uint64_t ask_id, asked_ms, pull_ms, compare_ms, short_ms; // short_ms: when the log was not far too long
} link_state;
typedef struct {
  int fd;
  buf in, out;
  uint64_t waiting; // facts that are not written yet
  bool watching, ended, more, skipping; // more: lines wait until answers are read; skipping: a line that is too long
  char doc[DOC_BYTES + 1];
  buf prefix;
} client;

typedef struct leaf {
  uint8_t space[32], parent[32], psk[32], secret[64], device[32];
  char address[80], socket_path[104];
  buf prefixes; // of documents to keep, each ended by a zero, in order; empty: all
  uint64_t log_limit, compact_at;
  store log;
  entry *index;
  size_t index_len, chain_count, doc_count;
  chain *chains[CHAINS], *order[CHAINS]; // by id; by incarnation and device
  document *docs[DOCUMENTS];
  buf roster; // the parent's answer; empty before the first
  uint64_t clock;
  uint8_t inc[16]; // of the chain that we write, if there is one
  bool has_inc, revoked, rebuilding, needs_rebuild; // revoked: this device, by the roster
  buf group, body, packed; // batches that are written next; scratch
  uint64_t draft_count, draft_docs, draft_bytes;
  batch batch; // the one that is looked at
  link_state link;
  int listener;
  client clients[CLIENTS];
} leaf;

// What the parts below call of those above.
static uint64_t write_build(leaf *l);
static void session_open(leaf *l);
static void session_message(leaf *l, span message);
static void session_wrote(leaf *l, chain *c);
static void session_tick(leaf *l);
static void local_written(leaf *l, bool good, uint64_t seq);
static void local_changed(leaf *l, document *d, span keys);

#endif
