// SPDX-License-Identifier: Apache-2.0
// What the leaf has: chains, documents, the parent's roster, and the log that all of it follows from. A payload of the log is one of
//
//   1 || (length u32 || batch) ...                     what was made durable at once
//   2 || answer                                        a roster, as the parent sent it (packages/sync/src/roster-answer.ts)
//   3 || (chain (48) || seq u64 || hlc u64 || named u8 || hash (32)) ...     heads of what was compacted
//   4 || length u8 || name || state                    a document that was compacted

enum { BATCHES = 1, ROSTER = 2, HEADS = 3, DOCUMENT = 4 };

static size_t order_at(const leaf *l, const uint8_t *key) { // by incarnation, then device: as `ranges` have it
  size_t low = 0, high = l->chain_count;
  while (low < high) {
    const size_t middle = (low + high) / 2;
    const int inc = memcmp(l->order[middle]->key + 32, key + 32, 16);
    if (inc < 0 || (inc == 0 && memcmp(l->order[middle]->key, key, 32) < 0)) low = middle + 1;
    else high = middle;
  }
  return low;
}
static chain *chain_find(const leaf *l, const uint8_t *key) {
  const size_t at = order_at(l, key);
  return at < l->chain_count && memcmp(l->order[at]->key, key, CHAIN_BYTES) == 0 ? l->order[at] : NULL;
}
static bool is_own(const leaf *l, const uint8_t *key) { return memcmp(key, l->device, 32) == 0; }
static bool is_current(const leaf *l, const uint8_t *key) { return l->has_inc && is_own(l, key) && memcmp(key + 32, l->inc, 16) == 0; }

// What the roster says of a chain: the first position that does not count, and where the grants of its device are.
static bool roster_look(span answer, const uint8_t *own, chain *c) {
  reader r = read_of(answer);
  uint64_t kind, devices, grants, limits, seq, role, from, to;
  const uint8_t *records, *key, *inc, *last = NULL;
  bool revoked;
  c->limit = memcmp(c->key, own, 32) == 0 ? UINT64_MAX : 1; // of a device that is not listed nothing counts, but that we do not judge ourselves
  c->grants = (span){NULL, 0};
  rc_get(&r, "[4ui[*", &kind, &records, (uint64_t)65536, &devices);
  for (uint64_t i = 0; i < devices && !r.bad; i++, last = key) {
    rc_get(&r, "[3ho", &key, &revoked);
    const uint8_t *start = r.at;
    rc_get(&r, "[*", (uint64_t)65536, &grants);
    for (uint64_t k = 0; k < grants && !r.bad; k++) rc_get(&r, "[3uuu", &role, &from, &to);
    if (r.bad || (last != NULL && memcmp(last, key, 32) >= 0)) return false;
    if (memcmp(key, c->key, 32) != 0) continue;
    c->limit = revoked ? 1 : UINT64_MAX;
    c->grants = (span){start, (size_t)(r.at - start)};
  }
  rc_get(&r, "[*", (uint64_t)65536, &limits);
  for (uint64_t i = 0; i < limits && !r.bad; i++) {
    rc_get(&r, "[3hiu", &key, &inc, &seq);
    if (!r.bad && memcmp(key, c->key, 32) == 0 && memcmp(inc, c->key + 32, 16) == 0) c->limit = seq;
  }
  rc_get(&r, ".");
  return !r.bad && kind == 4;
}
static enum standing standing_of(const chain *c, uint64_t seq, uint64_t hlc, uint64_t *role) {
  reader r = read_of(c->grants);
  uint64_t grants = 0, one, from, to, best = 0;
  *role = 0;
  if (seq >= c->limit) return IS_VOID;
  if (c->grants.p != NULL) rc_get(&r, "[*", (uint64_t)65536, &grants);
  for (uint64_t i = 0; i < grants; i++) {
    rc_get(&r, "[3uuu", &one, &from, &to);
    if (one > best) best = one;
    if (one > *role && from <= hlc_to_ms(hlc) && hlc_to_ms(hlc) <= to) *role = one;
  }
  return *role > 0 ? STANDS : best > 0 ? STANDS_LATER : STRANGER;
}
static const uint8_t *roster_records(const leaf *l) { return l->roster.len < 19 ? (const uint8_t *)"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0" : l->roster.p + 3; }

static chain chain_of(const leaf *l, const uint8_t *key) {
  chain c = {.limit = is_own(l, key) ? UINT64_MAX : 1};
  memcpy(c.key, key, CHAIN_BYTES);
  if (l->roster.len > 0) roster_look(SPAN(l->roster), l->device, &c);
  return c;
}
static bool has_room(const leaf *l, const uint8_t *key) { return l->chain_count + (is_own(l, key) ? 0 : OWN_CHAINS) < CHAINS; }
static chain *chain_add(leaf *l, const uint8_t *key) {
  chain *c = chain_find(l, key);
  if (c != NULL || l->chain_count == CHAINS) return c;
  const size_t at = order_at(l, key);
  c = no_null(malloc(sizeof *c));
  *c = chain_of(l, key);
  c->id = (uint32_t)l->chain_count;
  memmove(l->order + at + 1, l->order + at, (l->chain_count - at) * sizeof *l->order);
  return l->order[at] = l->chains[l->chain_count++] = c;
}

static document *document_find(const leaf *l, span name) {
  for (size_t i = 0; i < l->doc_count; i++)
    if (span_eq(TEXT(l->docs[i]->name), name)) return l->docs[i];
  return NULL;
}
static document *document_add(leaf *l, span name) {
  document *d = document_find(l, name);
  if (d != NULL || l->doc_count == DOCUMENTS) return d;
  d = no_null(calloc(1, sizeof *d));
  memcpy(d->name, name.p, name.len);
  d->core = core_open();
  return l->docs[l->doc_count++] = d;
}
static double memory_used(const leaf *l) {
  double used = 0;
  for (size_t i = 0; i < l->doc_count; i++) used += core_stat(l->docs[i]->core, 6);
  return used;
}

// ---- the checks of a batch, all before anything is written

static bool is_wanted(const leaf *l, span doc) {
  size_t n;
  for (size_t i = 0; i < l->prefixes.len; i += n + 1) {
    n = strlen((const char *)l->prefixes.p + i);
    if (n <= doc.len && memcmp(l->prefixes.p + i, doc.p, n) == 0) return true;
  }
  return l->prefixes.len == 0;
}

static const char *check_frame(const section *s, span payload, uint64_t after, uint64_t up_to, uint64_t role) {
  reader r = read_of(payload);
  frame f;
  if (!frame_open(&f, &r, FACTS_PER_FRAME) || f.left == 0) return "facts";
  for (bool first = true; frame_next(&f, &r); first = false) {
    if ((first && f.f.hlc <= after) || (f.f.value.p != NULL && !json_ok(f.f.value, false))) return "facts";
    if (f.f.flags == RETRACT && role < 3) return "grant";
    if (s->has_until && (!(f.f.flags & TTL) || hlc_to_ms(f.f.hlc) + f.f.ttl_ms > s->until)) return "facts";
  }
  return r.bad || rd_left(&r) > 0 || f.from != s->from || f.to != s->to || f.f.hlc > up_to ? "facts" : NULL;
}

static const char *check_section(leaf *l, const section *s, uint64_t after, uint64_t role, size_t *unpacked) {
  const uint64_t newest = hlc_to_ms(l->clock) < now_ms() ? hlc_to_ms(l->clock) : now_ms();
  if (s->body.p == NULL) return !is_wanted(l, s->doc) || (l->prefixes.len > 0 && s->has_until && s->until < newest) ? NULL : "omitted";
  if (s->rich) return NULL; // kept, and not opened
  if (s->encrypted || !body_unpack(s->body, &l->body) || (*unpacked += l->body.len) > BODY_BYTES) return "body";
  const document *d = document_add(l, s->doc);
  if (d == NULL || core_stat(d->core, 2) + (double)s->body_len > DOCUMENT_HOLD_BYTES) return "quota";
  return check_frame(s, SPAN(l->body), after, l->batch.hlc, role);
}

static void replica_stage(leaf *l, chain *c) {
  c->tail = (position){.seq = l->batch.seq, .hlc = l->batch.hlc};
  memcpy(c->tail.hash, l->batch.hash, 32);
  if (l->group.len == 0) buf_be(&l->group, BATCHES, 1);
  buf_be(&l->group, l->batch.bytes.len, 4);
  buf_put(&l->group, l->batch.bytes.p, l->batch.bytes.len);
}

static const char *replica_take(leaf *l, span bytes) {
  batch *b = &l->batch;
  if (!batch_read(b, bytes)) return "shape";
  if (memcmp(b->space, l->space, 32) != 0) return "space";
  chain *c = chain_find(l, b->chain);
  const chain none = c == NULL ? chain_of(l, b->chain) : *c;
  if (b->seq <= none.tail.seq) return b->seq < none.tail.seq || memcmp(b->hash, none.tail.hash, 32) == 0 ? "known" : "equivocation";
  uint64_t role;
  const enum standing standing = standing_of(&none, b->seq, b->hlc, &role);
  if (standing == IS_VOID || standing == STRANGER) return standing == IS_VOID ? "void" : "stranger";
  if (b->seq != none.tail.seq + 1 || b->seq > UINT32_MAX || (b->seq > 1 && b->hlc <= none.tail.hlc)) return "chain";
  if (b->prev != NULL && memcmp(b->prev, none.tail.hash, 32) != 0) return "equivocation";
  if (!batch_signed(b)) return "signature";
  if (!batch_bodies_ok(b)) return "body";
  if (standing == STANDS_LATER && !is_own(l, b->chain)) return "grant-time";
  if (hlc_to_ms(b->hlc) > now_ms() + CLOCK_AHEAD_MS) return "clock-ahead";
  if (memory_used(l) > MEMORY_BYTES || (c == NULL && !has_room(l, b->chain))) return "quota";
  if (l->log.size > 4 * l->log_limit) return "quota";
  size_t unpacked = 0;
  for (size_t i = 0; i < b->section_count; i++) {
    const char *problem = check_section(l, &b->sections[i], none.tail.hlc, role, &unpacked);
    if (problem != NULL) return problem;
  }
  // There is more of the chain that we write than we know: the disk lost it, or a copy of this device runs.
  if (is_current(l, b->chain)) l->has_inc = false;
  replica_stage(l, chain_add(l, b->chain));
  return NULL;
}

// ---- what a batch does

static void apply_section(leaf *l, const section *s) {
  document *d = document_add(l, s->doc);
  span changed;
  if (d == NULL || !body_unpack(s->body, &l->body)) return;
  const int result = core_apply(d->core, l->batch.chain, SPAN(l->body), &changed);
  if (result < 0 && !d->failed) {
    fprintf(stderr, "error CORE: document %s refuses what was checked (%d); it is opened again from the log\n", d->name, result);
    d->failed = l->needs_rebuild = true;
  }
  if (!l->rebuilding && is_current(l, l->batch.chain)) d->own_to = s->to;
  if (!l->rebuilding && changed.len > 0) local_changed(l, d, changed);
}

static void apply(leaf *l, uint64_t offset) {
  const batch *b = &l->batch;
  uint64_t role;
  bool partial = false;
  chain *c = chain_add(l, b->chain);
  if (c == NULL) return;
  for (size_t i = 0; i < b->section_count; i++) partial = partial || b->sections[i].body.p == NULL;
  if ((l->index_len & (l->index_len - 1)) == 0) // it grows at powers of two
    l->index = no_null(realloc(l->index, (l->index_len == 0 ? 1 : 2 * l->index_len) * sizeof *l->index));
  l->index[l->index_len++] = (entry){c->id, (uint32_t)b->seq, offset << 1 | partial};
  if (b->seq != c->at.seq + 1 || (b->prev != NULL && memcmp(b->prev, c->at.hash, 32) != 0)) return;
  // What we wrote stays past our grant, but not past a limit.
  if (is_own(l, b->chain) ? b->seq >= c->limit : standing_of(c, b->seq, b->hlc, &role) != STANDS) return;
  c->at = (position){.seq = b->seq, .hlc = b->hlc};
  memcpy(c->at.hash, b->hash, 32);
  if (c->tail.seq < b->seq) c->tail = c->at;
  if (b->hlc > l->clock) l->clock = b->hlc;
  for (size_t i = 0; i < b->section_count; i++)
    if (!b->sections[i].rich && b->sections[i].body.p != NULL) apply_section(l, &b->sections[i]);
  for (size_t i = 0; i < b->dep_count; i++)
    for (size_t k = 0; k < l->chain_count; k++)
      if (memcmp(l->chains[k]->at.hash, b->deps[i], 32) == 0) l->chains[k]->named = true;
  c->named = b->lane != 0; // nobody names what is in a lane
}

static bool next_batch(leaf *l, reader *r) {
  const uint64_t n = rd_left(r) == 0 ? 0 : rd_be(r, 4);
  const uint8_t *p = n == 0 ? NULL : rd_take(r, n);
  return p != NULL && (batch_read(&l->batch, (span){p, (size_t)n}) || (fail(r), false));
}

static void rebuild(leaf *l);

static bool replica_flush(leaf *l) {
  uint64_t offset, seq = 0;
  if (l->draft_count > 0) seq = write_build(l);
  if (l->group.len == 0) return true;
  const bool written = store_append(&l->log, SPAN(l->group), &offset);
  buf group = l->group;
  l->group = (buf){0};
  for (size_t i = 0; i < l->chain_count && !written; i++) l->chains[i]->tail = l->chains[i]->at;
  reader r = read_of((span){group.p + 1, group.len - 1});
  while (written && next_batch(l, &r)) {
    apply(l, offset);
    if (is_own(l, l->batch.chain)) session_wrote(l, chain_find(l, l->batch.chain));
  }
  buf_free(&group);
  local_written(l, written, seq);
  if (l->needs_rebuild) rebuild(l);
  return written;
}

// ---- the log

static bool replay_heads(leaf *l, reader *r) {
  while (rd_left(r) > 0 && !r->bad) {
    const uint8_t *key = rd_take(r, CHAIN_BYTES);
    chain *c = key == NULL ? NULL : chain_add(l, key);
    if (c == NULL) return false;
    c->at = (position){.seq = rd_be(r, 8)};
    c->at.hlc = rd_be(r, 8);
    c->named = rd_be(r, 1) != 0;
    const uint8_t *hash = rd_take(r, 32);
    if (hash == NULL) return false;
    memcpy(c->at.hash, hash, 32);
    c->tail = c->at;
    if (c->at.hlc > l->clock) l->clock = c->at.hlc;
  }
  return !r->bad;
}

static bool replay_document(leaf *l, reader *r) {
  const uint64_t n = rd_be(r, 1);
  const span name = {rd_take(r, n), (size_t)n};
  document *d = r->bad || !doc_ok(name) ? NULL : document_add(l, name);
  return d != NULL && core_merge(d->core, (span){r->at, rd_left(r)}) >= 0;
}

static void roster_adopt(leaf *l) {
  uint8_t ours[CHAIN_BYTES] = {0};
  memcpy(ours, l->device, 32);
  for (size_t i = 0; i < l->chain_count; i++) roster_look(SPAN(l->roster), l->device, l->chains[i]);
  l->revoked = chain_of(l, ours).limit == 1; // of chains that are not named
}

static bool replay_record(leaf *l, span payload, uint64_t offset) {
  reader r = read_of(payload);
  const uint64_t kind = rd_be(&r, 1);
  switch (kind) {
  case BATCHES:
    while (next_batch(l, &r)) apply(l, offset);
    return !r.bad;
  case ROSTER: // takes effect on what was before it by a rebuild; there the newest one decides already
    if (l->rebuilding) return true;
    l->needs_rebuild = l->needs_rebuild || l->index_len > 0;
    l->roster.len = 0;
    buf_put(&l->roster, r.at, rd_left(&r));
    roster_adopt(l);
    return true;
  case HEADS: return replay_heads(l, &r);
  case DOCUMENT: return replay_document(l, &r);
  default: return false;
  }
}

static _Noreturn void damaged(const leaf *l, uint64_t offset) {
  char text[64];
  snprintf(text, sizeof text, "byte %llu of %llu", (unsigned long long)offset, (unsigned long long)l->log.size);
  die(65, "STORE_DAMAGED", "the log is damaged before its end", text,
      "put back a copy, or cut it there (truncate -s) and lose what is behind; what the parent has comes again");
}

// Returns where the log ends, whole or torn.
static uint64_t replay(leaf *l) {
  buf payload = {0};
  uint64_t offset = STORE_FIRST, next = 0;
  enum record record;
  while ((record = store_read(&l->log, offset, &payload, &next)) == RECORD_OK && replay_record(l, SPAN(payload), offset)) offset = next;
  buf_free(&payload);
  if (record == RECORD_END || record == RECORD_TORN) return offset;
  damaged(l, offset);
}

static void rebuild(leaf *l) {
  l->rebuilding = true;
  if (l->roster.len > 0) roster_adopt(l);
  l->index_len = 0;
  for (size_t i = 0; i < l->doc_count; i++) {
    core_close(l->docs[i]->core);
    l->docs[i]->core = core_open();
  }
  for (size_t i = 0; i < l->chain_count; i++) {
    chain *c = l->chains[i];
    c->at = c->tail = (position){0};
    c->named = false;
    if (is_current(l, c->key) && c->limit != UINT64_MAX) l->has_inc = false; // nothing counts behind a limit
  }
  // What was acknowledged is in it, whole, or nothing is shown any more.
  if (replay(l) != l->log.size) damaged(l, l->log.size);
  l->rebuilding = l->needs_rebuild = false;
}

static void replica_open(leaf *l, bool read_only) {
  if (!store_open(&l->log)) {
    if (read_only) die(66, "NO_LOG", "there is no log", l->log.dir, "run the leaf once");
    if (!store_create(&l->log, "log.new")) io_error("the log can't be made");
    store_rename(&l->log, "log.new");
  }
  const uint64_t end = replay(l), torn = l->log.size - end;
  if (torn > 0)
    fprintf(stderr, "warning: the log ends with %llu bytes of a record that was not finished, of which nobody was told\n", (unsigned long long)torn);
  if (torn > 0 && !read_only) store_cut(&l->log, end);
  l->log.size = end;
  if (l->needs_rebuild) rebuild(l);
}

static const char *replica_roster(leaf *l, span answer) {
  uint64_t offset;
  chain none = {0};
  buf payload = {0};
  if (!roster_look(answer, l->device, &none)) return "the roster is malformed";
  if (span_eq(answer, SPAN(l->roster))) return NULL;
  buf_be(&payload, ROSTER, 1);
  buf_put(&payload, answer.p, answer.len);
  const bool written = replica_flush(l) && store_append(&l->log, SPAN(payload), &offset);
  buf_free(&payload);
  if (!written) return "the disk is full";
  l->roster.len = 0;
  buf_put(&l->roster, answer.p, answer.len);
  rebuild(l);
  return NULL;
}

static int by_key(const void *a, const void *b) { return memcmp((*(chain *const *)a)->key, (*(chain *const *)b)->key, CHAIN_BYTES); }

static void replica_digest(leaf *l, uint8_t out[32]) { // SHA-256 over all heads by device and incarnation, as `Frontier.digest` of agents
  buf all = {0};
  chain **sorted = no_null(malloc((l->chain_count + 1) * sizeof *sorted));
  size_t n = 0;
  for (size_t i = 0; i < l->chain_count; i++)
    if (l->chains[i]->at.seq > 0) sorted[n++] = l->chains[i];
  qsort(sorted, n, sizeof *sorted, by_key);
  cb_put(&all, "[*", (uint64_t)n);
  for (size_t i = 0; i < n; i++) cb_put(&all, "[4hiuh", sorted[i]->key, sorted[i]->key + 32, sorted[i]->at.seq, sorted[i]->at.hash);
  crypto_hash_sha256(out, all.p, all.len);
  free(sorted);
  buf_free(&all);
}

static size_t replica_serve(leaf *l, buf *items) { // what chains are wanted, in the order of the log, which is a causal one
  buf payload = {0};
  uint64_t at = 0, next;
  size_t n = 0;
  for (size_t i = 0; i < l->index_len && n < 1024 && items->len < CHUNK_BYTES; i++) {
    chain *c = l->chains[l->index[i].chain];
    const uint64_t seq = l->index[i].seq, where = l->index[i].where >> 1;
    if (seq < c->want_from || seq > c->want_to || seq > c->at.seq || c->want_to == 0) continue;
    if (l->index[i].where & 1) c->want_to = 0; // a body is left out, so the chain ends here
    else if (where != at && store_read(&l->log, at = where, &payload, &next) != RECORD_OK) break;
    reader r = read_of((span){payload.p + 1, payload.len - 1});
    while (c->want_to != 0 && next_batch(l, &r)) {
      if (l->batch.seq != seq || memcmp(l->batch.chain, c->key, CHAIN_BYTES) != 0) continue;
      cb_put(items, "b", l->batch.bytes);
      c->sent = seq;
      c->want_from = seq + 1;
      n++;
      break;
    }
  }
  buf_free(&payload);
  return n;
}

// Another log with what the old one comes to; when the parent is known to have all that is ours.
static bool replica_compact(leaf *l) {
  store fresh = l->log;
  buf p = {0};
  uint64_t at;
  if (l->draft_count > 0 || l->group.len > 0) return false; // of which the parent can't know
  buf_be(&p, ROSTER, 1);
  buf_put(&p, l->roster.p, l->roster.len);
  bool good = store_create(&fresh, "log.new") && (l->roster.len == 0 || store_append(&fresh, SPAN(p), &at));
  p.len = 0;
  buf_be(&p, HEADS, 1);
  for (size_t i = 0; i < l->chain_count; i++) {
    const chain *c = l->chains[i];
    if (c->at.seq == 0) continue;
    buf_put(&p, c->key, CHAIN_BYTES);
    buf_be(&p, c->at.seq, 8);
    buf_be(&p, c->at.hlc, 8);
    buf_be(&p, c->named, 1);
    buf_put(&p, c->at.hash, 32);
  }
  good = good && store_append(&fresh, SPAN(p), &at);
  for (size_t i = 0; i < l->doc_count && good; i++) {
    const document *d = l->docs[i];
    span state;
    p.len = 0;
    buf_be(&p, DOCUMENT, 1);
    buf_be(&p, strlen(d->name), 1);
    buf_put(&p, d->name, strlen(d->name));
    good = core_state(d->core, &state) >= 0;
    buf_put(&p, state.p, state.len);
    good = good && store_append(&fresh, SPAN(p), &at);
  }
  buf_free(&p);
  if (good) store_rename(&fresh, "log.new");
  else unlinkat(l->log.dir_fd, "log.new", 0); // a full disk has other uses
  close(good ? l->log.fd : fresh.fd);
  if (good) l->log = fresh, rebuild(l);
  l->compact_at = 2 * l->log.size > l->log_limit ? 2 * l->log.size : l->log_limit;
  return good;
}
