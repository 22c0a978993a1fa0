// SPDX-License-Identifier: Apache-2.0
// Batches (packages/codec/src/batch.ts, body.ts): parsed strictly, signature and bodies checked, bodies packed and unpacked.

#include "dictionary.h"

static bool doc_ok(span doc) {
  bool begins = true; // a segment
  for (size_t i = 0; i < doc.len; i++) {
    const uint8_t c = doc.p[i];
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
    if (!plain && (begins || c == 0 || strchr("/._-", c) == NULL)) return false;
    begins = c == '/';
  }
  return !begins && doc.len <= DOC_BYTES;
}

static void read_section(reader *r, section *s) {
  uint64_t members, gen, alias = 0;
  const uint8_t *by = NULL, *key_id;
  span kind;
  rc_get(r, "{*", &members);
  if (rc_maybe(r, "by")) rc_get(r, "i", &by);
  rc_get(r, "'to'u'doc't'gen'u'from'u'kind't", &s->to, &s->doc, &gen, &s->from, &kind);
  const bool has_alias = rc_maybe(r, "alias");
  if (has_alias) rc_get(r, "u", &alias);
  rc_get(r, "'keyId'i?", &key_id);
  s->has_until = rc_maybe(r, "until");
  if (s->has_until) rc_get(r, "u", &s->until);
  rc_get(r, "'bodyLen'u'bodyHash'h", &s->body_len, &s->body_hash);
  s->encrypted = key_id != NULL || gen != 0; // read as what it is not, it would put other content here than where it can be read
  s->rich = span_eq(kind, TEXT("rich"));
  if (members != 8u + (by != NULL) + has_alias + s->has_until || !doc_ok(s->doc)) fail(r);
  if (s->rich ? s->from > s->to || s->has_until : !span_eq(kind, TEXT("facts")) || s->from >= s->to) fail(r);
  if ((by != NULL) != has_alias || (has_alias && (!s->rich || s->from >= s->to || alias == 0 || alias > UINT32_MAX))) fail(r);
}

static bool read_header(batch *b) {
  reader r = read_of(b->header);
  uint64_t members, version, epoch, client;
  const uint8_t *inc, *replica;
  rc_get(&r, "{*'v'u'hlc'u'inc'i'seq'u'deps'[*", &members, &version, &b->hlc, &inc, &b->seq, (uint64_t)DEPS, &b->dep_count);
  for (size_t i = 0; i < b->dep_count; i++) {
    rc_get(&r, "h", &b->deps[i]);
    if (r.bad || (i > 0 && memcmp(b->deps[i - 1], b->deps[i], 32) >= 0)) return false;
  }
  const bool has_lane = rc_maybe(&r, "lane");
  b->lane = 0;
  if (has_lane) rc_get(&r, "u", &b->lane);
  rc_get(&r, "'prev'h?'epoch'u'space'h'client'u'replica'h", &b->prev, &epoch, &b->space, &client, &replica);
  rc_get(&r, "'sections'[*", (uint64_t)SECTIONS, &b->section_count);
  bool rich = false;
  for (size_t i = 0; i < b->section_count && !r.bad; i++) {
    section *s = &b->sections[i];
    *s = (section){0};
    read_section(&r, s);
    rich = rich || s->rich;
    for (size_t k = 0; k < i && !r.bad; k++)
      if (b->sections[k].rich == s->rich && span_eq(b->sections[k].doc, s->doc)) fail(&r);
  }
  rc_get(&r, ".");
  if (r.bad || members != 11u + has_lane || version != 1 || b->section_count == 0) return false;
  if (b->seq < 1 || (b->prev == NULL) != (b->seq == 1)) return false;
  // What is in a lane stands aside from the causal order, so it holds facts alone and names nothing.
  if (has_lane && (b->lane < 1 || b->lane > 2 || b->dep_count > 0 || client != 0 || rich)) return false;
  memcpy(b->chain, replica, 32);
  memcpy(b->chain + 32, inc, 16);
  return true;
}

static bool batch_read(batch *b, span bytes) {
  reader r = read_of(bytes);
  uint64_t bodies;
  b->bytes = bytes;
  rc_get(&r, "[3bd", &b->header, &b->signature);
  if (bytes.len > BATCH_BYTES || r.bad || !read_header(b)) return false;
  rc_get(&r, "[*", (uint64_t)SECTIONS, &bodies);
  for (size_t i = 0; i < b->section_count; i++)
    if (!rc_maybe(&r, "")) rc_get(&r, "b", &b->sections[i].body);
  rc_get(&r, ".");
  crypto_hash_sha256(b->hash, b->header.p, b->header.len);
  return !r.bad && bodies == b->section_count;
}

static void signed_part(span header, buf *input) {
  buf_fmt(input, "ctxmesh/batch/v1\n");
  buf_put(input, header.p, header.len);
}
static bool batch_signed(const batch *b) {
  buf input = {0};
  signed_part(b->header, &input);
  const bool good = crypto_sign_verify_detached(b->signature, input.p, input.len, b->chain) == 0;
  return buf_free(&input), good;
}
static void header_sign(const uint8_t secret[64], span header, uint8_t signature[64]) {
  buf input = {0};
  signed_part(header, &input);
  crypto_sign_detached(signature, NULL, input.p, input.len, secret);
  buf_free(&input);
}

static bool batch_bodies_ok(const batch *b) { // those that are here are the ones that were signed, and all together are not too many
  uint64_t whole = b->header.len;
  for (size_t i = 0; i < b->section_count; i++) {
    const section *s = &b->sections[i];
    uint8_t hash[32];
    if (s->body_len > BATCH_BYTES || (whole += s->body_len) > BATCH_BYTES) return false;
    crypto_hash_sha256(hash, s->body.p, s->body.len);
    if (s->body.p != NULL && (s->body.len != s->body_len || memcmp(hash, s->body_hash, 32) != 0)) return false;
  }
  return true;
}

enum { RAW = 0, PACKED = 1, WITH_DICTIONARY = 2 };

static bool body_unpack(span body, buf *out) {
  out->len = 0;
  if (body.len == 0 || body.p[0] > WITH_DICTIONARY) return false;
  // Old and skippable frames, which some decoders know, are none here.
  if (body.p[0] == PACKED && (body.len < 5 || memcmp(body.p + 1, "\x28\xb5\x2f\xfd", 4) != 0)) return false;
  if (body.p[0] == RAW) return buf_put(out, body.p + 1, body.len - 1), body.len - 1 <= BODY_BYTES;
  buf frame = {0};
  if (body.p[0] == WITH_DICTIONARY) buf_put(&frame, "\x28\xb5\x2f\xfd", 4); // the magic number, which is left out
  buf_put(&frame, body.p + 1, body.len - 1);
  ZSTD_DCtx *context = no_null(ZSTD_createDCtx());
  ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 21); // a frame could ask for 128 MiB
  if (body.p[0] == WITH_DICTIONARY) ZSTD_DCtx_loadDictionary(context, DICTIONARY, sizeof DICTIONARY);
  const unsigned long long said = ZSTD_getFrameContentSize(frame.p, frame.len);
  const size_t room = said < BODY_BYTES ? (size_t)said + 1 : BODY_BYTES;
  ZSTD_inBuffer from = {frame.p, frame.len, 0};
  ZSTD_outBuffer to = {buf_room(out, room), room, 0};
  size_t left = 1;
  for (size_t before = SIZE_MAX; left != 0 && !ZSTD_isError(left) && before != from.pos + to.pos;) {
    before = from.pos + to.pos;
    left = ZSTD_decompressStream(context, &to, &from);
  }
  ZSTD_freeDCtx(context);
  buf_free(&frame);
  out->len = to.pos;
  return left == 0 && from.pos == from.size; // what stands behind it would be read differently by others
}

static void body_pack(span payload, buf *out) {
  out->len = 0;
  if (payload.len >= 1024) { // of less there is little to win
    const size_t room = ZSTD_compressBound(payload.len);
    buf_be(out, PACKED, 1);
    const size_t n = ZSTD_compress(buf_room(out, room), room, payload.p, payload.len, 1);
    out->len = 1 + (ZSTD_isError(n) ? payload.len : n);
    if (out->len <= payload.len) return;
  }
  out->len = 0;
  buf_be(out, RAW, 1);
  buf_put(out, payload.p, payload.len);
}
