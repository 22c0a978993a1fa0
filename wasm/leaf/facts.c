// SPDX-License-Identifier: Apache-2.0
// Frames of facts (packages/facts/src/frame.ts), checked byte by byte; and canonical JSON (RFC 8785), as every value is.

static span text(reader *r, uint64_t most, bool may_be_empty) {
  const uint64_t n = rd_varint(r);
  const span s = {rd_take(r, n), (size_t)n};
  return s.p == NULL || n > most || (n == 0 && !may_be_empty) || !utf8_ok(s) ? (fail(r), (span){NULL, 0}) : s;
}
static void texts(reader *r) {
  const uint64_t n = rd_varint(r);
  if (n == 0 || n > 16) fail(r);
  for (uint64_t i = 0; i < n && !r->bad; i++) text(r, 128, true);
}

static void read_more(reader *r) {
  static const uint8_t zeros[16];
  const uint64_t more = rd_be(r, 1);
  if (more == 0 || more > 7) fail(r);
  if (more & 1) text(r, 128, false);
  const uint8_t *trace = more & 2 ? rd_take(r, 25) : NULL;
  if (trace != NULL && (memcmp(trace, zeros, 16) == 0 || memcmp(trace + 16, zeros, 8) == 0)) fail(r);
  if (more & 4) texts(r);
}

static double read_confidence(reader *r) {
  const uint8_t *p = rd_take(r, 8); // little-endian
  uint64_t bits = 0;
  double v;
  for (int i = 7; i >= 0 && p != NULL; i--) bits = bits << 8 | p[i];
  memcpy(&v, &bits, sizeof v);
  // A negative zero would be a second spelling of zero.
  return v >= 0 && v <= 1 && bits >> 63 == 0 ? v : (fail(r), 0);
}

static void read_rest(reader *r, fact *f) {
  if (f->flags == RETRACT) {
    f->ruled = rd_take(r, 32);
    f->up_to = rd_varint(r);
    text(r, 512, false);
    return;
  }
  if (!(f->flags & DELETED)) f->value = text(r, VALUE_BYTES, true);
  if (f->flags & CONFIDENCE) f->confidence = read_confidence(r);
  for (int i = 0; i < 3 && (f->flags & SOURCE); i++) text(r, 128, i > 0);
  if (f->flags & TTL) f->ttl_ms = rd_varint(r);
  if (f->flags & TAGS) texts(r);
  if (f->flags & BASIS) texts(r);
  if (f->flags & MORE) read_more(r);
}

static bool key_ok(span key) {
  for (size_t i = 0; i < key.len; i++)
    if (key.p[i] < 0x20 || key.p[i] == 0x7f) return false;
  return key.len > 0 && key.len <= KEY_BYTES && utf8_ok(key);
}

static bool frame_open(frame *f, reader *r, uint64_t most) {
  if (rd_be(r, 1) != 1) fail(r);
  *f = (frame){.from = rd_varint(r), .to = 0};
  f->to = rd_varint(r);
  f->left = rd_varint(r);
  if (f->left > most || f->left > rd_left(r) / 5) fail(r);
  f->f.seq = f->from;
  return !r->bad;
}

static bool frame_next(frame *f, reader *r) {
  if (f->left == 0 || r->bad) return false;
  f->left--;
  fact next = {.flags = (uint8_t)rd_be(r, 1), .seq = f->f.seq, .hlc = f->f.hlc};
  if ((next.flags & RETRACT) && next.flags != RETRACT) fail(r);
  const uint64_t seq_delta = rd_varint(r), hlc_delta = rd_varint(r);
  if (seq_delta == 0 || hlc_delta == 0) fail(r);
  next.seq += seq_delta;
  next.hlc += hlc_delta;
  next.key = text(r, KEY_BYTES, false);
  if (r->bad || next.seq > f->to || next.hlc > MAX_SAFE || !key_ok(next.key)) return fail(r), false;
  read_rest(r, &next);
  f->f = next;
  return !r->bad;
}

static bool json_string(reader *r, buf *out) {
  static const char names[] = "btnfr\"\\", means[] = "\b\t\n\f\r\"\\", digits[] = "0123456789abcdef";
  const size_t start = out->len;
  for (;;) {
    const int c = (int)rd_be(r, 1);
    if (r->bad || c < 0x20) return fail(r), false;
    if (c == '"') return utf8_ok((span){buf_room(out, 0) - (out->len - start), out->len - start}) || (fail(r), false);
    const int escape = c == '\\' ? (int)rd_be(r, 1) : 0;
    const char *name = escape == 0 ? NULL : strchr(names, escape);
    if (c != '\\') buf_be(out, (uint64_t)c, 1);
    else if (name != NULL) buf_be(out, (uint64_t)means[name - names], 1);
    else { // \u00XX for what has no name, and for nothing else
      const uint8_t *hex = escape == 'u' ? rd_take(r, 4) : NULL;
      const char *low = hex == NULL || hex[3] == 0 ? NULL : strchr(digits, hex[3]);
      if (low == NULL || memcmp(hex, "00", 2) != 0 || hex[2] < '0' || hex[2] > '1') return fail(r), false;
      const int unit = (hex[2] - '0') * 16 + (int)(low - digits);
      if (unit != 0 && strchr(means, unit) != NULL) return fail(r), false;
      buf_be(out, (uint64_t)unit, 1);
    }
  }
}

static void json_quote(buf *out, span s) {
  buf_put(out, "\"", 1);
  for (size_t i = 0; i < s.len; i++) {
    if (s.p[i] == '"' || s.p[i] == '\\') buf_put(out, "\\", 1);
    buf_put(out, s.p + i, 1);
  }
  buf_put(out, "\"", 1);
}

static size_t digits(reader *r) {
  size_t n = 0;
  for (; rd_left(r) > 0 && *r->at >= '0' && *r->at <= '9'; n++) r->at++;
  return n;
}
static bool next_is(reader *r, char c) { return rd_left(r) > 0 && *r->at == (uint8_t)c && r->at++ != NULL; }

// Exact: one whose text is surely that of ECMAScript, since doubles keep 15 digits apart; else the shape of such a text.
static void number(reader *r, bool exact) {
  const bool negative = next_is(r, '-'), zero = next_is(r, '0');
  const size_t whole = zero ? 0 : digits(r);
  size_t zeros = 0, fraction = 0;
  if (!zero && (whole == 0 || r->at[-(ptrdiff_t)whole] == '0')) fail(r);
  const bool point = next_is(r, '.');
  while (point && zero && next_is(r, '0')) zeros++;
  if (point) fraction = digits(r);
  if (point ? fraction == 0 || r->at[-1] == '0' : negative && zero) fail(r);
  const bool exponent = next_is(r, 'e');
  if (exponent && (!(next_is(r, '+') || next_is(r, '-')) || digits(r) == 0)) fail(r);
  if (exact && (exponent || whole + fraction > 15 || zeros > 5)) fail(r);
}

// By UTF-16 code units: what takes two of them is before U+E000 to U+FFFF, where its UTF-8 is behind.
static bool is_before(const buf *a, const buf *b) {
  for (size_t i = 0; i < a->len && i < b->len; i++) {
    const uint8_t x = a->p[i], y = b->p[i];
    if (x != y) return x >= 0xee && y >= 0xee && (x >= 0xf0) != (y >= 0xf0) ? x >= 0xf0 : x < y;
  }
  return a->len < b->len;
}

static void value(reader *r, int depth, bool exact);

static void members(reader *r, int depth, bool exact, bool is_object) {
  static const char *const forbidden[] = {"__proto__", "constructor", "prototype"};
  buf names[2] = {{0}, {0}};
  for (int i = 0; !r->bad; i++) {
    buf *name = &names[i & 1];
    name->len = 0;
    if (is_object && (!next_is(r, '"') || !json_string(r, name) || !next_is(r, ':'))) fail(r);
    for (int k = 0; k < 3 && is_object && !r->bad; k++)
      if (span_eq(SPAN(*name), TEXT(forbidden[k]))) fail(r);
    if (is_object && i > 0 && !r->bad && !is_before(&names[(i & 1) ^ 1], name)) fail(r);
    value(r, depth + 1, exact);
    if (next_is(r, is_object ? '}' : ']')) break;
    if (!next_is(r, ',')) fail(r);
  }
  buf_free(&names[0]);
  buf_free(&names[1]);
}

static void value(reader *r, int depth, bool exact) {
  static const char *const literals[] = {"true", "false", "null"};
  for (int i = 0; i < 3; i++) {
    const size_t n = strlen(literals[i]);
    if (rd_left(r) >= n && memcmp(r->at, literals[i], n) == 0) { rd_take(r, n); return; }
  }
  if (next_is(r, '"')) {
    buf content = {0};
    json_string(r, &content);
    buf_free(&content);
    return;
  }
  const bool is_object = next_is(r, '{');
  if (!is_object && !next_is(r, '[')) { number(r, exact); return; }
  if (depth >= 64) { fail(r); return; }
  if (!next_is(r, is_object ? '}' : ']')) members(r, depth, exact, is_object);
}

static bool json_ok(span s, bool exact) {
  reader r = read_of(s);
  value(&r, 0, exact);
  rc_get(&r, ".");
  return !r.bad;
}
