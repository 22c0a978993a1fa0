// SPDX-License-Identifier: Apache-2.0
// The local socket: one line each way (README.md). Puts that are read at once are one batch; readers see what is on the disk.

#define LINE_BYTES 73728u // a value, a key with every byte escaped, a document's name
#define READ_BYTES 131072u
#define OUT_BYTES 262144u   // of answers that are not read, before no more lines are
#define WAIT_MS 10000u      // for the log to be compacted, before clients are heard again
#define WATCH_BYTES 1048576u // of changes that are not read, before a watcher is cut

static bool next_slot(reader *r, frame *f, const uint8_t **chain) {
  *chain = rd_take(r, CHAIN_BYTES);
  return *chain != NULL && frame_open(f, r, 1) && frame_next(f, r);
}

// Whether a statement was taken back, by a ruling on its writer among the slots of its key.
static bool is_retracted(span slots, const uint8_t *writer, uint64_t hlc) {
  reader r = read_of(slots);
  const uint8_t *chain;
  frame f;
  while (rd_left(&r) > 0 && next_slot(&r, &f, &chain))
    if (f.f.flags == RETRACT && memcmp(f.f.ruled, writer, 32) == 0 && hlc <= f.f.up_to) return true;
  return false;
}

// The shortest decimal that reads back as the same number.
static void put_confidence(buf *json, double number) {
  char text[32];
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, number);
    if (strtod(text, NULL) == number) break;
  }
  buf_fmt(json, "\"confidence\":%s,", text);
}

// The newest statement about a key that is not taken back and has not expired, with how many there are.
static bool visible(document *d, span key, buf *json) {
  span slots;
  fact best = {0};
  const uint8_t *chain, *writer = NULL;
  unsigned candidates = 0;
  frame f;
  if (core_get(d->core, key, &slots) < 1) return false;
  reader r = read_of(slots);
  rd_take(&r, 1);
  rd_varint(&r);
  slots = (span){r.at, rd_left(&r)};
  while (rd_left(&r) > 0 && next_slot(&r, &f, &chain)) {
    const bool expired = (f.f.flags & TTL) && hlc_to_ms(f.f.hlc) + f.f.ttl_ms <= now_ms();
    if (f.f.flags == RETRACT || expired || is_retracted(slots, chain, f.f.hlc)) continue;
    candidates++;
    if (writer != NULL && (f.f.hlc < best.hlc || (f.f.hlc == best.hlc && memcmp(chain, writer, CHAIN_BYTES) < 0))) continue;
    best = f.f;
    writer = chain;
  }
  if (writer == NULL || (best.flags & DELETED)) return false;
  buf_fmt(json, "{\"value\":%.*s,\"writer\":\"", (int)best.value.len, (const char *)best.value.p);
  buf_hex(json, writer, 32);
  buf_fmt(json, "\",\"hlc\":%llu,", (unsigned long long)best.hlc);
  if (best.flags & CONFIDENCE) put_confidence(json, best.confidence);
  buf_fmt(json, "\"candidates\":%u}", candidates);
  return true;
}

static void put_visible(document *d, span key, buf *out) {
  if (d == NULL || !visible(d, key, out)) buf_fmt(out, "null");
  buf_put(out, "\n", 1);
}

static void local_changed(leaf *l, document *d, span keys) {
  buf copy = {0};
  for (size_t i = 0; i < CLIENTS; i++) {
    client *c = &l->clients[i];
    if (c->fd < 0 || !c->watching || (c->doc[0] != 0 && strcmp(c->doc, d->name) != 0)) continue;
    if (copy.len == 0) buf_put(&copy, keys.p, keys.len); // the core answers the next question in the same place
    for (size_t at = 0, n; at < copy.len; at += n + 1) {
      const uint8_t *end = memchr(copy.p + at, '\n', copy.len - at);
      n = end == NULL ? copy.len - at : (size_t)(end - copy.p) - at;
      const span key = {copy.p + at, n};
      if (n < c->prefix.len || (c->prefix.len > 0 && memcmp(key.p, c->prefix.p, c->prefix.len) != 0)) continue;
      buf_fmt(&c->out, "change %s ", d->name);
      if (key.p[0] == '"' || memchr(key.p, ' ', n) != NULL) json_quote(&c->out, key);
      else buf_put(&c->out, key.p, n);
      buf_put(&c->out, " ", 1);
      put_visible(d, key, &c->out);
    }
    if (c->out.len > WATCH_BYTES) c->ended = true, buf_free(&c->out);
  }
  buf_free(&copy);
}

static void local_written(leaf *l, bool good, uint64_t seq) {
  for (size_t i = 0; i < CLIENTS; i++)
    for (; l->clients[i].waiting > 0; l->clients[i].waiting--) {
      if (good) buf_fmt(&l->clients[i].out, "ok %llu\n", (unsigned long long)seq);
      else buf_fmt(&l->clients[i].out, "error NO_SPACE: the disk is full; make room\n");
    }
}

static span word(reader *r, buf *quoted) { // up to a space, or a JSON string
  buf_room(quoted, 0);
  if (rd_left(r) > 0 && *r->at == '"') {
    rd_take(r, 1);
    json_string(r, quoted);
  } else
    while (rd_left(r) > 0 && *r->at != ' ') buf_put(quoted, r->at++, 1);
  if (rd_left(r) > 0 && rd_be(r, 1) != ' ') fail(r);
  return SPAN(*quoted);
}

static long peak_kib(void) { // where getrusage counts what the process was before it became this program
  char text[128];
  long kib = 0;
  FILE *f = fopen("/proc/self/status", "re");
  while (f != NULL && kib == 0 && fgets(text, sizeof text, f) != NULL) sscanf(text, "VmHWM: %ld", &kib);
  if (f != NULL) fclose(f);
  return kib;
}

static void put_status(leaf *l, buf *out) {
  double facts = 0;
  bool in_sync = l->link.greeted && l->link.compared;
  size_t chains = 0;
  for (size_t i = 0; i < l->doc_count; i++) facts += core_stat(l->docs[i]->core, 0);
  for (size_t i = 0; i < l->chain_count; i++) {
    const chain *c = l->chains[i];
    chains += c->at.seq > 0;
    in_sync = in_sync && c->sent >= c->at.seq && (c->said_seq <= c->at.seq || c->at.seq + 1 >= c->limit);
  }
  buf_fmt(out, "{\"version\":\"%s\",\"device\":\"", VERSION);
  buf_hex(out, l->device, 32);
  buf_fmt(out, "\",\"facts\":%.0f,\"documents\":%zu,\"chains\":%zu,\"connected\":%s,\"inSync\":%s,\"logBytes\":%llu,\"memoryBytes\":%.0f,\"peakRssKiB\":%ld}\n",
          facts, l->doc_count, chains, l->link.greeted ? "true" : "false", in_sync ? "true" : "false", (unsigned long long)l->log.size,
          memory_used(l), peak_kib());
}

static void put_digests(leaf *l, buf *out) {
  uint8_t digest[32];
  replica_digest(l, digest);
  buf_fmt(out, "{\"frontier\":\"");
  buf_hex(out, digest, 32);
  buf_fmt(out, "\",\"documents\":{");
  for (size_t i = 0; i < l->doc_count; i++) {
    span root;
    buf_fmt(out, "%s\"%s\":\"", i > 0 ? "," : "", l->docs[i]->name);
    if (core_digest(l->docs[i]->core, &root) >= 0) buf_hex(out, root.p, root.len);
    buf_fmt(out, "\"");
  }
  buf_fmt(out, "}}\n");
}

static void watch(client *c, span doc, span prefix) {
  c->watching = true;
  if (doc.len > 0) memcpy(c->doc, doc.p, doc.len);
  c->doc[doc.len] = 0;
  c->prefix.len = 0;
  buf_put(&c->prefix, prefix.p, prefix.len);
  buf_fmt(&c->out, "ok\n");
}

static void line(leaf *l, client *c, span text) { // sets `ended` behind the last one
  buf words[3] = {{0}, {0}, {0}};
  reader r = read_of(text);
  const span name = word(&r, &words[0]);
  const bool is_put = span_eq(name, TEXT("put")), is_delete = span_eq(name, TEXT("delete"));
  const span doc = word(&r, &words[1]), key = word(&r, &words[2]), rest = {r.at, rd_left(&r)};
  const char *error = r.bad || (!is_put && rest.len > 0) ? "INPUT_INVALID: the line has a broken string, or words too many; see the README" : NULL;
  if (error == NULL && (is_put || is_delete)) error = write_put(l, doc, key, is_put ? &rest : NULL);
  if (error == NULL && (is_put || is_delete)) {
    c->waiting++;
  } else {
    replica_flush(l); // answers stand in the order of lines
    if (error != NULL) buf_fmt(&c->out, "error %s\n", error);
    else if (span_eq(name, TEXT("get")) && key_ok(key)) put_visible(document_find(l, doc), key, &c->out);
    else if (span_eq(name, TEXT("watch")) && doc.len <= DOC_BYTES) watch(c, doc, key);
    else if (span_eq(name, TEXT("digest"))) put_digests(l, &c->out);
    else if (span_eq(name, TEXT("status"))) put_status(l, &c->out);
    else if (span_eq(name, TEXT("quit"))) c->ended = true;
    else buf_fmt(&c->out, "error INPUT_INVALID: a line begins with put, delete, get, watch, digest, status or quit\n");
  }
  for (int i = 0; i < 3; i++) buf_free(&words[i]);
}

static void end_client(client *c) {
  close(c->fd);
  buf_free(&c->in);
  buf_free(&c->out);
  buf_free(&c->prefix);
  *c = (client){.fd = -1};
}

static void local_accept(leaf *l) {
  const int fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  for (size_t i = 0; i < CLIENTS && fd >= 0; i++)
    if (l->clients[i].fd < 0) { l->clients[i] = (client){.fd = fd}; return; }
  if (fd >= 0) send(fd, "error BUSY: 64 clients are connected; try later\n", 48, MSG_NOSIGNAL), close(fd);
}

// Who does not read is not listened to; nor is anybody while the log is far too long, and the parent is about to say what it has.
static short local_events(const leaf *l, const client *c) {
  const bool listens = c->out.len < OUT_BYTES && !c->ended && (l->log.size < 2 * l->compact_at || tick_ms() - l->link.short_ms > WAIT_MS);
  return (short)((listens && !c->more ? POLLIN : 0) | (c->out.len > 0 || c->more ? POLLOUT : 0));
}

static void local_read(leaf *l, client *c, short events) {
  const size_t len = c->in.len;
  const bool reads = (events & ~POLLOUT) && !c->more && !c->ended;
  const ssize_t got = reads ? recv(c->fd, buf_room(&c->in, READ_BYTES), READ_BYTES, 0) : -1;
  const bool is_last = got == 0 || (reads && got < 0 && errno != EAGAIN && errno != EINTR);
  c->in.len = len + (got > 0 ? (size_t)got : 0);
  c->more = false;
  size_t used = 0;
  for (const uint8_t *end; !c->ended && used < c->in.len && (end = memchr(c->in.p + used, '\n', c->in.len - used)) != NULL;) {
    const size_t n = (size_t)(end - c->in.p) - used;
    if ((c->more = c->out.len >= OUT_BYTES)) break;
    if (!c->skipping) line(l, c, (span){c->in.p + used, n});
    c->skipping = false;
    used += n + 1;
  }
  buf_drop(&c->in, used);
  c->ended = c->ended || is_last;
  if (c->in.len <= LINE_BYTES || c->more) return;
  if (!c->skipping) replica_flush(l), buf_fmt(&c->out, "error LIMIT_EXCEEDED: a line has 73728 bytes at most\n");
  c->skipping = true; // up to its end
  buf_drop(&c->in, c->in.len);
}

static void local_write(client *c) {
  const ssize_t put = c->out.len == 0 ? 0 : send(c->fd, c->out.p, c->out.len, MSG_NOSIGNAL);
  if (put > 0) buf_drop(&c->out, (size_t)put);
  const bool gone = put < 0 && errno != EAGAIN && errno != EINTR;
  if (gone || (c->ended && c->out.len == 0 && c->waiting == 0)) end_client(c);
}
