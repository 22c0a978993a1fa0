// SPDX-License-Identifier: Apache-2.0
// The session with the parent (packages/sync/SPEC.md, messages.ts): as packages/transport-tcp/test/model-leaf.ts has it.

#define PUSH_ROOM 262144u // of what is not sent yet; past it the parent is told, and pulls
#define ASK_MS 2000u
#define COMPARE_MS 30000u
#define ANSWER_MS 60000u

static const uint8_t ZEROS[48];

static void say(leaf *l, const char *format, ...) { // a message, as cb_put writes it
  buf m = {0};
  va_list args;
  va_start(args, format);
  cb_list(&m, format, args);
  va_end(args);
  link_send(l, SPAN(m));
  buf_free(&m);
}
static void put_head(buf *b, const chain *c) { cb_put(b, "[4cui", c->key, c->at.seq, c->at.seq == 0 ? ZEROS : c->at.hash); }

static void ask_roster(leaf *l) { // one question at a time, and at most every two seconds
  link_state *k = &l->link;
  const uint64_t now = tick_ms();
  k->owes_ask = k->asking || (k->ask_id > 0 && now - k->asked_ms < ASK_MS);
  if (k->owes_ask) return;
  k->asking = true;
  k->asked_ms = now;
  say(l, "[3uub", (uint64_t)20, ++k->ask_id, TEXT("\x81\3")); // question 3
}

static void say_digest(leaf *l, bool asks) {
  uint8_t digest[32];
  replica_digest(l, digest);
  l->link.compare_ms = tick_ms();
  say(l, "[4uiio", (uint64_t)6, digest, roster_records(l), asks);
}

static void hear_records(leaf *l, const uint8_t *records) {
  memcpy(l->link.records, records, 16);
  if (memcmp(records, roster_records(l), 16) != 0) ask_roster(l);
}

static void agree(leaf *l) { // the parent has just what we have
  l->link.compared = l->link.heads_heard = true;
  for (size_t i = 0; i < l->chain_count; i++) l->chains[i]->said_seq = l->chains[i]->sent = l->chains[i]->at.seq;
}

static void say_heads(leaf *l, uint64_t round, uint8_t mode) { // all of them, in the order of `ranges`
  buf heads = {0};
  uint64_t n = 0;
  for (size_t i = 0; i < l->chain_count; i++) {
    chain *c = l->order[i];
    c->told = c->at.seq;
    if (c->at.seq == 0) continue;
    put_head(&heads, c);
    n++;
  }
  say(l, "[3uu[2b[*r", (uint64_t)14, round, (span){&mode, 1}, n, SPAN(heads));
  buf_free(&heads);
}

static bool read_head(reader *r, uint8_t key[48], uint64_t *seq, const uint8_t **hash) {
  rc_get(r, "[4cui", key, seq, hash);
  return !r->bad && (*seq > 0 || memcmp(*hash, ZEROS, 16) == 0 || (fail(r), false));
}

// The parent's word about its head of a chain; where it judges otherwise than by the roster that it gave us, that one is out of date.
static void hear(leaf *l, const uint8_t *key, uint64_t seq, const uint8_t *hash) {
  chain *c = chain_find(l, key);
  if (c == NULL && seq > 0) {
    const chain stranger = chain_of(l, key);
    if (stranger.limit == 1) l->link.owes_ask = true; // nothing of it counts, by that roster
    else if (has_room(l, key)) c = chain_add(l, key);
  }
  if (c == NULL) return;
  c->said_seq = c->sent = seq;
  c->stuck = false;
  if (seq >= c->limit || (seq < c->at.seq && !is_own(l, key))) l->link.owes_ask = true;
  // Another one writes our chain: a copy of this device runs.
  if (is_current(l, key) && (seq > c->tail.seq || (seq == c->at.seq && memcmp(hash, c->at.hash, 16) != 0))) l->has_inc = false;
}

static void hear_list(leaf *l, reader *r) {
  uint64_t heads, seq;
  uint8_t key[CHAIN_BYTES];
  const uint8_t *hash;
  rc_get(r, "[*", (uint64_t)CHAINS, &heads);
  for (uint64_t i = 0; i < heads && read_head(r, key, &seq, &hash); i++) hear(l, key, seq, hash);
}

static void pull(leaf *l) {
  buf spans = {0};
  uint64_t n = 0;
  if (l->link.pulling || l->roster.len == 0 || l->link.asking) return;
  for (size_t i = 0; i < l->chain_count && n < 1024; i++) {
    chain *c = l->chains[i];
    const uint64_t to = c->said_seq < c->limit ? c->said_seq : c->limit - 1;
    c->asked = 0;
    if (to <= c->tail.seq || c->stuck) continue;
    c->asked = c->tail.seq + 1;
    cb_put(&spans, "[4cuu", c->key, c->asked, to);
    n++;
  }
  l->link.pulling = n > 0;
  l->link.pull_ms = tick_ms();
  if (n > 0) say(l, "[2u[*r", (uint64_t)3, n, SPAN(spans));
  buf_free(&spans);
}

static const char *take(leaf *l, span bytes) {
  static const char *const blamed[] = {"shape", "space", "signature", "body", "facts", "equivocation", "omitted", "grant"};
  const char *problem = replica_take(l, bytes);
  for (size_t i = 0; problem != NULL && i < sizeof blamed / sizeof *blamed; i++) {
    if (strcmp(problem, blamed[i]) != 0) continue;
    fprintf(stderr, "refused a batch: %s\n", problem);
    l->link.refused++;
  }
  return problem;
}

static void on_hello(leaf *l, reader *r) {
  uint8_t ours[32];
  uint64_t version;
  const uint8_t *space, *digest, *records;
  span subscription = {NULL, 0};
  rc_get(r, "uhii", &version, &space, &digest, &records);
  if (!rc_maybe(r, "")) rc_get(r, "b", &subscription);
  if (r->bad || l->link.greeted || version != 3 || memcmp(space, l->space, 32) != 0) { fail(r); return; }
  l->link.greeted = true;
  memcpy(l->link.records, records, 16);
  ask_roster(l); // a roster that was kept may be out of date in what no digest tells
  replica_digest(l, ours);
  const int told = memcmp(l->link.told, digest, 16);
  if (told == 0 ? memcmp(ours, digest, 16) != 0 : told < 0) say_heads(l, 1, 3);
  else if (told == 0) agree(l);
}

// What the parent asks about is answered by a list of all our heads, as one range, whatever it was asked with.
static void on_ranges(leaf *l, reader *r) {
  uint64_t round, items;
  uint8_t reply = 0;
  span bound;
  const uint8_t *hash;
  rc_get(r, "u[*", &round, (uint64_t)32768, &items);
  if (round < 1 || round > 16 || items == 0 || items % 2 != 0) fail(r);
  for (uint64_t i = 0; i < items && !r->bad; i += 2) {
    rc_get(r, "b", &bound);
    const unsigned mode = bound.len < 1 || bound.len > 49 ? 9 : bound.p[0];
    if (mode == 0 && rc_maybe(r, "")) continue;
    if (mode == 1 || mode == 2) rc_get(r, "i", &hash);
    else if (mode == 3 || mode == 4) hear_list(l, r);
    else fail(r);
    for (size_t k = 0; mode == 2 && items == 2 && k < l->chain_count; k++) { // equal: to the list that we told
      chain *c = l->chains[k];
      c->said_seq = c->told;
      if (c->sent < c->told) c->sent = c->told;
    }
    l->link.compared = l->link.heads_heard = l->link.heads_heard || mode >= 2;
    reply = mode == 1 ? 3 : mode == 3 && reply == 0 ? 4 : reply;
  }
  if (reply != 0 && !r->bad) say_heads(l, round + 1, reply);
  pull(l);
}

static void on_digest(leaf *l, reader *r) {
  const uint8_t *digest, *records;
  uint8_t ours[32];
  bool asks;
  rc_get(r, "iio", &digest, &records, &asks);
  if (r->bad) return;
  hear_records(l, records);
  replica_digest(l, ours);
  if (memcmp(ours, digest, 16) == 0) {
    agree(l);
    if (asks) say_digest(l, false);
  } else if (asks) say_heads(l, 1, 3);
}

static void on_pull(leaf *l, reader *r) {
  uint64_t spans, from, to;
  uint8_t key[CHAIN_BYTES];
  buf items = {0};
  rc_get(r, "[*", (uint64_t)1024, &spans);
  for (size_t i = 0; i < l->chain_count; i++) l->chains[i]->want_to = 0;
  for (uint64_t i = 0; i < spans; i++) {
    rc_get(r, "[4cuu", key, &from, &to);
    if (r->bad || from < 1 || to < from) { fail(r); return; }
    chain *c = chain_find(l, key);
    if (c != NULL) c->want_from = from, c->want_to = to;
  }
  const uint64_t n = replica_serve(l, &items);
  say(l, "[2u[*r", (uint64_t)4, n, SPAN(items));
  buf_free(&items);
}

static void on_batches(leaf *l, reader *r) {
  uint64_t n;
  span bytes;
  if (!l->link.pulling) { fail(r); return; }
  l->link.pulling = false;
  rc_get(r, "[*", (uint64_t)1024, &n);
  bool moved = false; // else nothing comes of asking for the same again, until the parent says something about it
  for (uint64_t i = 0; i < n; i++) {
    rc_get(r, "b", &bytes);
    const char *problem = r->bad ? "shape" : take(l, bytes);
    chain *c = problem == NULL || strcmp(problem, "shape") == 0 ? NULL : chain_find(l, l->batch.chain);
    const bool stops = c != NULL && c->asked > 0 && !c->stuck && strcmp(problem, "known") != 0;
    if (stops) c->stuck = true;
    moved = moved || stops || problem == NULL;
  }
  for (size_t i = 0; i < l->chain_count && !moved; i++) l->chains[i]->stuck = l->chains[i]->stuck || l->chains[i]->asked > 0;
  pull(l);
}

static void on_push(leaf *l, reader *r) {
  span bytes;
  rc_get(r, "b", &bytes);
  if (r->bad) return;
  take(l, bytes);
  if (batch_read(&l->batch, bytes) && memcmp(l->batch.space, l->space, 32) == 0) {
    const chain *c = chain_find(l, l->batch.chain);
    if (c == NULL || l->batch.seq > c->said_seq) hear(l, l->batch.chain, l->batch.seq, l->batch.hash);
  }
  pull(l);
}

static void on_acts(leaf *l, reader *r) {
  uint64_t n;
  span bytes;
  bool more;
  const uint8_t *records;
  for (int list = 0; list < 2; list++) {
    rc_get(r, "[*", (uint64_t)16384, &n);
    for (uint64_t i = 0; i < n && !r->bad; i++) rc_get(r, "b", &bytes);
  }
  rc_get(r, "oi", &more, &records);
  if (!r->bad) hear_records(l, records);
}

static void on_answer(leaf *l, reader *r) {
  uint64_t id;
  span answer;
  rc_get(r, "ub", &id, &answer);
  if (r->bad || id != l->link.ask_id || !l->link.asking) return;
  l->link.asking = false;
  const char *problem = replica_roster(l, answer);
  if (problem != NULL) { link_end(l, problem); return; }
  if (memcmp(l->link.records, roster_records(l), 16) != 0) l->link.owes_ask = true;
  for (size_t i = 0; i < l->chain_count; i++) l->chains[i]->stuck = false;
  say_digest(l, true);
  pull(l);
}

static void on_ask(leaf *l, reader *r) {
  uint64_t id;
  span question;
  buf answer = {0};
  rc_get(r, "ub", &id, &question);
  if (r->bad) return;
  cb_put(&answer, "[4uttn", (uint64_t)3, TEXT("POLICY_REFUSED"), TEXT("a leaf answers no questions"));
  say(l, "[3uub", (uint64_t)21, id, SPAN(answer));
  buf_free(&answer);
}

static void reply(leaf *l, reader *r, uint64_t type) { // to what a leaf has nothing to say to, and may not leave without an answer
  r->at = r->end;
  if (type == 7) say(l, "[5u[0[0oi", (uint64_t)8, false, roster_records(l)); // no acts are here; which roster we go by
  if (type == 9) say(l, "[2u[0", (uint64_t)10);
  if (type == 15) say(l, "[2u[0", (uint64_t)16);
  if (type == 17) say(l, "[4unub", (uint64_t)18, (uint64_t)0, (span){NULL, 0});
}

static void session_message(leaf *l, span message) {
  static const uint8_t parts[22] = {6, 0, 2, 2, 2, 2, 4, 3, 5, 2, 0, 2, 2, 3, 3, 3, 0, 3, 0, 0, 3, 3}; // 0: nobody asked for it
  reader r = read_of(message);
  uint64_t items, type;
  rc_get(&r, "[*u", (uint64_t)6, &items, &type);
  if (type > 21 || parts[type] != items || (type == 0) == l->link.greeted) fail(&r);
  if (!r.bad) switch (type) {
    case 0: on_hello(l, &r); break;
    case 2: hear_list(l, &r), pull(l); break;
    case 3: on_pull(l, &r); break;
    case 4: on_batches(l, &r); break;
    case 5: on_push(l, &r); break;
    case 6: on_digest(l, &r); break;
    case 8: on_acts(l, &r); break;
    case 14: on_ranges(l, &r); break;
    case 20: on_ask(l, &r); break;
    case 21: on_answer(l, &r); break;
    case 11: case 12: case 13: r.at = r.end; break; // of no use here
    default: reply(l, &r, type);
    }
  rc_get(&r, ".");
  if (r.bad) { link_end(l, "the parent breaks the protocol"); return; }
  if (l->link.refused >= 16) link_end(l, "the parent sends what is not to be had");
}

static void session_open(leaf *l) {
  link_state *k = &l->link;
  buf docs = {0}, rules = {0};
  uint64_t n = 0;
  fprintf(stderr, "link: %s: open\n", l->address);
  for (size_t i = 0; i < l->chain_count; i++) l->chains[i]->said_seq = l->chains[i]->sent = l->chains[i]->stuck = l->chains[i]->tell = 0;
  for (size_t i = 0; i < l->prefixes.len; i += strlen((const char *)l->prefixes.p + i) + 1, n++) cb_put(&docs, "t", TEXT((const char *)l->prefixes.p + i));
  cb_put(&rules, "{1'docs'[*r", n, SPAN(docs));
  replica_digest(l, k->told);
  k->compare_ms = tick_ms();
  say(l, n == 0 ? "[6uuhiin" : "[6uuhiib", (uint64_t)0, (uint64_t)3, l->space, k->told, roster_records(l), SPAN(rules));
  buf_free(&docs);
  buf_free(&rules);
}

static void session_wrote(leaf *l, chain *c) { // pushed where the parent has what is before; else it is told, and pulls
  if (!l->link.greeted || c == NULL) return;
  if (c->sent + 1 != c->at.seq || l->link.out.len > PUSH_ROOM) {
    c->tell = true;
    return;
  }
  c->sent = c->at.seq;
  say(l, "[2ub", (uint64_t)5, l->batch.bytes);
}

static void session_tick(leaf *l) {
  link_state *k = &l->link;
  const uint64_t now = tick_ms();
  buf heads = {0};
  uint64_t n = 0;
  if (!k->greeted && now - k->since_ms > 10000) link_end(l, "no greeting in time");
  if (!k->greeted) return;
  if (k->owes_ask) ask_roster(l);
  if (k->asking && now - k->asked_ms > ANSWER_MS) { link_end(l, "no roster in time"); return; }
  if (k->pulling && now - k->pull_ms > ANSWER_MS) { link_end(l, "no batches in time"); return; }
  for (size_t i = 0; i < l->chain_count; i++) {
    chain *c = l->chains[i];
    if (!c->tell) continue;
    c->tell = false;
    put_head(&heads, c);
    n++;
  }
  if (n > 0) say(l, "[2u[*r", (uint64_t)2, n, SPAN(heads));
  buf_free(&heads);
  bool may_compact = l->log.size > l->compact_at;
  if (l->log.size < 2 * l->compact_at) k->short_ms = now;
  if (now - k->compare_ms > (may_compact ? ASK_MS / 4 : COMPARE_MS)) say_digest(l, true);
  for (size_t i = 0; i < l->chain_count; i++) may_compact = may_compact && (!is_own(l, l->chains[i]->key) || l->chains[i]->said_seq >= l->chains[i]->at.seq);
  if (may_compact && k->heads_heard) k->heads_heard = false, replica_compact(l);
}
