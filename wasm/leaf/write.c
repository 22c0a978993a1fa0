// SPDX-License-Identifier: Apache-2.0
// What this device writes: facts gather as records in their documents, and become one batch, one signature, one write of the log.

static const char *write_put(leaf *l, span doc, span key, const span *value) {
  const size_t bytes = key.len + (value == NULL ? 0 : value->len) + 32, room = l->draft_bytes + bytes + (doc.len + 192);
  if (!doc_ok(doc)) return "INPUT_INVALID: a document is segments of letters, digits, . _ - joined by /; 200 characters at most";
  if (!key_ok(key)) return "INPUT_INVALID: a key has no control characters; 1 to 512 bytes";
  if (value != NULL && value->len > VALUE_BYTES) return "LIMIT_EXCEEDED: a value has 65536 bytes at most; keep larger content elsewhere";
  if (value != NULL && !json_ok(*value, true))
    return "VALUE_NOT_CANONICAL: the value is not JSON as RFC 8785 has it; sort members, leave out spaces, write numbers in 15 digits at most";
  if (l->revoked) return "POLICY_REFUSED: this device is revoked; nothing that it writes counts";
  if (l->log.size > 4 * l->log_limit) return "LIMIT_EXCEEDED: the log is full; connect to the parent, or raise log-limit";
  if (l->draft_count == 0 && memory_used(l) > MEMORY_BYTES) return "LIMIT_EXCEEDED: all documents together are too large; keep fewer of them";
  if ((room > WRITE_BYTES || l->draft_count == FACTS_PER_FRAME || l->draft_docs == SECTIONS) && !replica_flush(l))
    return "NO_SPACE: the disk is full; make room";
  document *d = document_add(l, doc);
  if (d == NULL || core_stat(d->core, 2) > DOCUMENT_BYTES) return "LIMIT_EXCEEDED: the document is full, or there are 1024 already; use another";
  const uint64_t now = now_ms(), wall = (now > HLC_EPOCH_MS ? now - HLC_EPOCH_MS : 0) * 4096;
  l->clock = wall > l->clock ? wall : l->clock + 1;
  if (d->drafts++ == 0) l->draft_docs++, l->draft_bytes += doc.len + 192;
  l->draft_count++;
  l->draft_bytes += bytes;
  buf_be(&d->draft, value == NULL ? DELETED : 0, 1);
  buf_varint(&d->draft, 1);
  buf_varint(&d->draft, l->clock - d->draft_hlc);
  d->draft_hlc = l->clock;
  buf_varint(&d->draft, key.len);
  buf_put(&d->draft, key.p, key.len);
  if (value == NULL) return NULL;
  buf_varint(&d->draft, value->len);
  buf_put(&d->draft, value->p, value->len);
  return NULL;
}

static void build_section(leaf *l, document *d, buf *sections, buf *bodies) {
  const uint64_t from = d->own_to, to = from + d->drafts;
  uint8_t hash[32];
  l->body.len = 0;
  buf_be(&l->body, 1, 1);
  buf_varint(&l->body, from);
  buf_varint(&l->body, to);
  buf_varint(&l->body, d->drafts);
  buf_put(&l->body, d->draft.p, d->draft.len);
  body_pack(SPAN(l->body), &l->packed);
  crypto_hash_sha256(hash, l->packed.p, l->packed.len);
  cb_put(sections, "{8'to'u'doc't'gen'u'from'u'kind't'keyId'n'bodyLen'u'bodyHash'h", to, TEXT(d->name), (uint64_t)0, from, TEXT("facts"),
         (uint64_t)l->packed.len, hash);
  cb_put(bodies, "b", SPAN(l->packed));
  buf_drop(&d->draft, d->draft.len);
  d->drafts = d->draft_hlc = 0;
}

static int by_hash(const void *a, const void *b) { return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, 32); }

static uint64_t write_build(leaf *l) {
  buf sections = {0}, bodies = {0}, header = {0}, whole = {0};
  uint8_t key[CHAIN_BYTES], signature[64];
  const uint8_t *deps[DEPS];
  const uint64_t count = l->draft_docs;
  size_t n = 0;
  if (!l->has_inc) randombytes_buf(l->inc, sizeof l->inc);
  for (size_t i = 0; i < l->doc_count && !l->has_inc; i++) l->docs[i]->own_to = 0;
  memcpy(key, l->device, 32);
  memcpy(key + 32, l->inc, 16);
  chain *own = chain_add(l, key);
  if (own == NULL) die(70, "LIMIT_EXCEEDED", "there are 8192 chains, and ours would be one more", "", "begin anew without the log");
  l->has_inc = true;
  for (size_t i = 0; i < l->doc_count; i++)
    if (l->docs[i]->drafts > 0) build_section(l, l->docs[i], &sections, &bodies);
  for (size_t i = 0; i < l->chain_count && n < DEPS; i++) { // the heads of others that no batch names yet
    const chain *c = l->chains[i];
    if (c != own && !c->named && c->at.seq > 0 && c->at.seq == c->tail.seq) deps[n++] = c->at.hash;
  }
  qsort(deps, n, sizeof *deps, by_hash);
  cb_put(&header, "{*'v'u'hlc'u'inc'i'seq'u'deps'[*", (uint64_t)11, (uint64_t)1, l->clock, l->inc, own->tail.seq + 1, (uint64_t)n);
  for (size_t i = 0; i < n; i++) cb_put(&header, "h", deps[i]);
  if (own->tail.seq == 0) cb_put(&header, "'prev'n");
  else cb_put(&header, "'prev'h", own->tail.hash);
  cb_put(&header, "'epoch'u'space'h'client'u'replica'h'sections'[*", (uint64_t)0, l->space, (uint64_t)0, l->device, count);
  buf_put(&header, sections.p, sections.len);
  header_sign(l->secret, SPAN(header), signature);
  cb_put(&whole, "[3bd[*", SPAN(header), signature, count);
  buf_put(&whole, bodies.p, bodies.len);
  if (!batch_read(&l->batch, SPAN(whole))) die(70, "INTERNAL", "a batch of our own is malformed", "", "report this");
  replica_stage(l, own);
  l->draft_count = l->draft_docs = l->draft_bytes = 0;
  buf_free(&sections);
  buf_free(&bodies);
  buf_free(&header);
  buf_free(&whole);
  return own->tail.seq;
}
