// SPDX-License-Identifier: Apache-2.0
// Bytes: buffers, a reader of untrusted ones, deterministic CBOR (RFC 8949, 4.2.1) by a format string, UTF-8 (RFC 3629).

static _Noreturn void die(int status, const char *code, const char *text, const char *detail, const char *remedy) {
  fprintf(stderr, "error %s: %s%s%s; %s\n", code, text, *detail ? ": " : "", detail, remedy);
  exit(status);
}
static void *no_null(void *p) {
  if (p == NULL) die(71, "NO_MEMORY", "the system has no memory left", "", "give it more, or keep fewer documents");
  return p;
}

static uint8_t *buf_room(buf *b, size_t n) {
  if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) no_null(NULL);
  if (b->p == NULL || b->len + n > b->cap) {
    size_t cap = b->cap < 256 ? 256 : b->cap;
    while (cap < b->len + n) cap += cap / 2;
    b->p = no_null(realloc(b->p, cap));
    b->cap = cap;
  }
  b->len += n;
  return b->p + b->len - n;
}
static void buf_put(buf *b, const void *p, size_t n) {
  uint8_t *room = buf_room(b, n);
  if (n > 0) memcpy(room, p, n);
}
static void buf_be(buf *b, uint64_t v, int bytes) {
  for (uint8_t *p = buf_room(b, (size_t)bytes); bytes-- > 0;) *p++ = (uint8_t)(v >> (8 * bytes));
}
static void buf_varint(buf *b, uint64_t v) {
  for (; v >= 0x80; v >>= 7) buf_be(b, (v & 0x7f) | 0x80, 1);
  buf_be(b, v, 1);
}
static void buf_fmt(buf *b, const char *format, ...) {
  va_list args, again;
  va_start(args, format);
  va_copy(again, args);
  const int n = vsnprintf(NULL, 0, format, args);
  vsnprintf((char *)buf_room(b, (size_t)n + 1), (size_t)n + 1, format, again);
  b->len--;
  va_end(again);
  va_end(args);
}
static void buf_hex(buf *b, const uint8_t *p, size_t n) {
  sodium_bin2hex((char *)buf_room(b, 2 * n + 1), 2 * n + 1, p, n);
  b->len--;
}
static void buf_free(buf *b) {
  free(b->p);
  *b = (buf){0};
}
static void buf_drop(buf *b, size_t n) {
  b->len -= n;
  if (b->len > 0 && n > 0) memmove(b->p, b->p + n, b->len);
  if (b->len == 0 && b->cap > 16384) buf_free(b); // what one long message took
}

static reader read_of(span s) { return (reader){.at = s.p, .end = s.p == NULL ? NULL : s.p + s.len}; }
static void fail(reader *r) {
  r->bad = true;
  r->at = r->end;
}
static size_t rd_left(const reader *r) { return (size_t)(r->end - r->at); }
static const uint8_t *rd_take(reader *r, uint64_t n) {
  const uint8_t *p = r->at;
  if (r->bad || n > rd_left(r)) return fail(r), NULL;
  if (n > 0) r->at += n;
  return p;
}
static uint64_t rd_be(reader *r, int bytes) {
  const uint8_t *p = rd_take(r, (uint64_t)bytes);
  uint64_t v = 0;
  for (int i = 0; p != NULL && i < bytes; i++) v = v << 8 | p[i];
  return v;
}
static uint64_t rd_varint(reader *r) { // unsigned LEB128 in its shortest form
  uint64_t v = 0;
  for (int shift = 0; shift < 56; shift += 7) {
    const uint64_t byte = rd_be(r, 1);
    v |= (byte & 0x7f) << shift;
    if (byte < 0x80) return r->bad || (byte == 0 && shift > 0) || v > MAX_SAFE ? (fail(r), 0u) : v;
  }
  return fail(r), 0;
}

static bool utf8_ok(span s) {
  for (size_t i = 0, n; i < s.len; i += n) {
    const uint8_t lead = s.p[i];
    n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (n == 1) continue;
    if (lead < 0xc2 || lead > 0xf4 || n > s.len - i) return false;
    const uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80, high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
    if (s.p[i + 1] < low || s.p[i + 1] > high) return false;
    for (size_t k = 2; k < n; k++)
      if ((s.p[i + k] & 0xc0) != 0x80) return false;
  }
  return true;
}

static void head(buf *b, unsigned major, uint64_t v) {
  const int bytes = v < 24 ? 0 : v <= 0xff ? 1 : v <= 0xffff ? 2 : v <= 0xffffffff ? 4 : 8;
  const uint64_t low = bytes == 0 ? v : bytes == 1 ? 24 : bytes == 2 ? 25 : bytes == 4 ? 26 : 27;
  buf_be(b, major << 5 | low, 1);
  buf_be(b, v, bytes);
}

// Items by letters: u uint64_t; b span, a byte string; t span, a text; h i d: byte strings of 32, 16, 64 bytes; n null; o int, a
// boolean; c a chain, its two items; r span, as it is; [ an array and { a map of as many items as the digit behind it says, or uint64_t where
// there is a *; 'name' a member's name.
static void cb_put(buf *b, const char *f, ...);
static void cb_list(buf *b, const char *f, va_list args) {
  for (; *f != 0; f++) {
    if (*f == 'u') head(b, 0, va_arg(args, uint64_t));
    else if (*f == 'n') buf_be(b, 0xf6, 1);
    else if (*f == 'r') {
      const span s = va_arg(args, span);
      buf_put(b, s.p, s.len);
    } else if (*f == 'c') {
      const uint8_t *key = va_arg(args, const uint8_t *);
      cb_put(b, "hi", key, key + 32);
    }
    else if (*f == 'o') buf_be(b, va_arg(args, int) ? 0xf5u : 0xf4u, 1);
    else if (*f == '[' || *f == '{') {
      const unsigned major = *f == '[' ? 4 : 5;
      f++;
      const uint64_t items = *f == '*' ? va_arg(args, uint64_t) : (uint64_t)(*f - '0');
      head(b, major, items);
    } else if (*f == '\'') {
      const char *name = ++f;
      f = strchr(f, '\'');
      head(b, 3, (uint64_t)(f - name));
      buf_put(b, name, (size_t)(f - name));
    } else {
      const size_t fixed = *f == 'h' ? 32 : *f == 'i' ? 16 : 64;
      const span s = *f == 'b' || *f == 't' ? va_arg(args, span) : (span){va_arg(args, const uint8_t *), fixed};
      head(b, *f == 't' ? 3 : 2, s.len);
      buf_put(b, s.p, s.len);
    }
  }
}
static void cb_put(buf *b, const char *f, ...) {
  va_list args;
  va_start(args, f);
  cb_list(b, f, args);
  va_end(args);
}

static uint64_t argument(reader *r, unsigned major) { // in its shortest form
  const uint64_t first = rd_be(r, 1), low = first & 31;
  if (r->bad || first >> 5 != major || low > 27) return fail(r), 0;
  if (low < 24) return low;
  const int bytes = 1 << (low - 24);
  const uint64_t v = rd_be(r, bytes);
  return r->bad || v < 24 || (bytes > 1 && v >> (4 * bytes) == 0) || (major == 0 && v > MAX_SAFE) ? (fail(r), 0u) : v;
}
static bool rc_maybe(reader *r, const char *name) { // a member that may be there; "": null
  const size_t n = strlen(name);
  if (rd_left(r) <= n || *r->at != (n == 0 ? 0xf6 : 0x60 | n) || memcmp(r->at + 1, name, n) != 0) return false;
  r->at += n + 1;
  return true;
}
static span string(reader *r, unsigned major) {
  const uint64_t n = argument(r, major);
  const span s = {rd_take(r, n), (size_t)n};
  return s.p == NULL || (major == 3 && !utf8_ok(s)) ? (fail(r), (span){NULL, 0}) : s;
}
// Reads what cb_put writes, into pointers: uint64_t, span, const uint8_t * (NULL for null behind a ?), bool. [* takes the most items, then a pointer;
// {* a pointer. A map is read by asking for its members in order, so one that is not sorted is refused. A . asks for the end.
static void rc_get(reader *r, const char *f, ...) {
  va_list args;
  va_start(args, f);
  for (; *f != 0; f++) {
    if (*f == 'u') *va_arg(args, uint64_t *) = argument(r, 0);
    else if (*f == '.' && r->at != r->end) fail(r);
    else if (*f == 'c') { // into 48 bytes
      uint8_t *key = va_arg(args, uint8_t *);
      const span device = string(r, 2), inc = string(r, 2);
      if (device.len != 32 || inc.len != 16) fail(r);
      else memcpy(key, device.p, 32), memcpy(key + 32, inc.p, 16);
    } else if (*f == 'b' || *f == 't') *va_arg(args, span *) = string(r, *f == 'b' ? 2 : 3);
    else if (*f == 'o') {
      const uint64_t v = rd_be(r, 1);
      if ((*va_arg(args, bool *) = v == 0xf5) == false && v != 0xf4) fail(r);
    } else if (*f == '[' || *f == '{') {
      const bool is_array = *f++ == '[';
      const uint64_t most = *f == '*' ? (is_array ? va_arg(args, uint64_t) : 32u) : (uint64_t)(*f - '0');
      uint64_t items = argument(r, is_array ? 4 : 5);
      if (*f == '*' ? items > most || items > rd_left(r) : items != most) items = (fail(r), 0);
      if (*f == '*') *va_arg(args, uint64_t *) = items;
    } else if (*f == '\'') {
      char name[16] = "";
      for (size_t n = 0; *++f != '\'';) name[n++] = *f;
      if (!rc_maybe(r, name)) fail(r);
    } else if (*f == 'h' || *f == 'i' || *f == 'd') {
      const size_t fixed = *f == 'h' ? 32 : *f == 'i' ? 16 : 64;
      const bool is_null = f[1] == '?' && rc_maybe(r, "");
      const span s = is_null ? (span){NULL, fixed} : string(r, 2);
      if (f[1] == '?') f++;
      *va_arg(args, const uint8_t **) = s.len == fixed ? s.p : (fail(r), NULL);
    }
  }
  va_end(args);
}

static bool span_eq(span a, span b) { return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0); }
static bool unhex(const char *text, uint8_t *out, size_t bytes) {
  size_t n = 0;
  return strlen(text) == 2 * bytes && sodium_hex2bin(out, bytes, text, 2 * bytes, NULL, &n, NULL) == 0 && n == bytes;
}
static uint64_t clock_ms(clockid_t which) {
  struct timespec t;
  clock_gettime(which, &t);
  return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}
static uint64_t now_ms(void) { return clock_ms(CLOCK_REALTIME); }
static uint64_t tick_ms(void) { return clock_ms(CLOCK_MONOTONIC); }
static uint64_t hlc_to_ms(uint64_t hlc) { return hlc / 4096 + HLC_EPOCH_MS; }
