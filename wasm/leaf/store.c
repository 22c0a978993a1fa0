// SPDX-License-Identifier: Apache-2.0
// The log: the one file in which everything is. All integers are big-endian; what is in a payload is in replica.c.
//
//   file   = "ctxmesh-leaf-1\n\0" (16) || id (16) || record ...
//   record = length u32 || check (4) || nonce (24) || XChaCha20-Poly1305(payload), `length` bytes with its tag of 16
//   check  = the beginning of SHA-256(id || offset u64 || length u32), so that a length that was changed is not taken for a torn end
//   aad    = id || offset u64, so that no record can be moved, left out, or come from another file

#define FRONT 32u // length, check, nonce
#define TAG 16u
#define PLACE 24u // id, offset
#define RECORD_MOST (64u << 20)
static const char MAGIC[16] = "ctxmesh-leaf-1\n";

static _Noreturn void io_error(const char *what) {
  die(74, "STORE_IO", what, strerror(errno), "look after the disk, then start again: what was acknowledged is in the log");
}

static void place_of(const store *s, uint64_t offset, uint32_t length, uint8_t place[28], uint8_t check[32]) {
  memcpy(place, s->id, 16);
  for (int i = 0; i < 8; i++) place[16 + i] = (uint8_t)(offset >> (56 - 8 * i));
  for (unsigned i = 0; i < 4; i++) place[PLACE + i] = (uint8_t)(length >> (24 - 8 * i));
  crypto_hash_sha256(check, place, 28);
}

static bool read_all(int fd, uint8_t *p, size_t n, uint64_t offset) {
  for (size_t done = 0; done < n;) {
    const ssize_t got = pread(fd, p + done, n - done, (off_t)(offset + done));
    if (got < 0 && errno != EINTR) io_error("the log can't be read");
    if (got == 0) return false;
    done += got > 0 ? (size_t)got : 0;
  }
  return true;
}
static bool write_all(int fd, const uint8_t *p, size_t n, uint64_t offset) {
  for (size_t done = 0; done < n;) {
    const ssize_t put = pwrite(fd, p + done, n - done, (off_t)(offset + done));
    if (put < 0 && errno != EINTR) return false;
    done += put > 0 ? (size_t)put : 0;
  }
  return true;
}

static bool store_open(store *s) {
  uint8_t head[STORE_FIRST];
  struct stat info;
  s->fd = openat(s->dir_fd, "log", O_RDWR | O_CLOEXEC);
  if (s->fd < 0 && errno == ENOENT) return false;
  if (s->fd < 0 || fstat(s->fd, &info) != 0) io_error("the log can't be opened");
  // What a killed process left in memory alone, a record or the log's name, is not built on before it is on the disk.
  if (fsync(s->fd) != 0 || fsync(s->dir_fd) != 0) io_error("the log can't be made durable");
  s->size = (uint64_t)info.st_size;
  if (!read_all(s->fd, head, STORE_FIRST, 0) || memcmp(head, MAGIC, 16) != 0)
    die(65, "STORE_DAMAGED", "this is no log of this version", s->dir, "move the file `log` away: what the parent has comes again");
  memcpy(s->id, head + 16, 16);
  return true;
}
static bool store_create(store *s, const char *name) { // false: no room
  uint8_t head[STORE_FIRST];
  randombytes_buf(s->id, sizeof s->id);
  memcpy(head, MAGIC, 16);
  memcpy(head + 16, s->id, 16);
  s->fd = openat(s->dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  s->size = STORE_FIRST;
  return s->fd >= 0 && write_all(s->fd, head, STORE_FIRST, 0);
}
static void store_rename(store *s, const char *name) {
  if (fsync(s->fd) != 0 || renameat(s->dir_fd, name, s->dir_fd, "log") != 0 || fsync(s->dir_fd) != 0) io_error("the log can't be put in its place");
}

// Whether nothing but zeros follows, up to the end or that of a sector that has something else before: blocks that were given to the file,
// and never written. Damage would have taken the beginning of the sector, too.
static bool is_blank(const store *s, uint64_t offset) {
  uint8_t piece[4096];
  const uint64_t sector = (offset | 511) + 1, end = offset % 512 == 0 || sector > s->size ? s->size : sector;
  for (; offset < end; offset += sizeof piece) {
    const size_t n = end - offset < sizeof piece ? (size_t)(end - offset) : sizeof piece;
    if (!read_all(s->fd, piece, n, offset) || !sodium_is_zero(piece, n)) return false;
  }
  return true;
}

enum record store_read(const store *s, uint64_t offset, buf *payload, uint64_t *next) {
  uint8_t front[FRONT], place[28], check[32];
  payload->len = 0;
  if (offset >= s->size) return RECORD_END;
  if (s->size - offset < FRONT || !read_all(s->fd, front, FRONT, offset)) return RECORD_TORN;
  reader r = read_of((span){front, FRONT});
  const uint32_t length = (uint32_t)rd_be(&r, 4);
  place_of(s, offset, length, place, check);
  if (length <= TAG || length > RECORD_MOST || memcmp(check, front + 4, 4) != 0) return is_blank(s, offset) ? RECORD_TORN : RECORD_DAMAGED;
  if (s->size - offset - FRONT < length) return RECORD_TORN;
  uint8_t *p = buf_room(payload, length);
  const bool good = read_all(s->fd, p, length, offset + FRONT) &&
                    crypto_aead_xchacha20poly1305_ietf_decrypt(p, NULL, NULL, p, length, place, PLACE, front + 8, s->key) == 0;
  payload->len = length - TAG;
  *next = offset + FRONT + length;
  // The last one may have been on its way to the disk, block by block, when the power went.
  return good ? RECORD_OK : *next == s->size ? RECORD_TORN : RECORD_DAMAGED;
}

static void store_cut(store *s, uint64_t offset) {
  buf end = {0};
  const size_t n = (size_t)(s->size - offset);
  const int fd = openat(s->dir_fd, "log.torn", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || !read_all(s->fd, buf_room(&end, n), n, offset) || !write_all(fd, end.p, n, 0) || fsync(fd) != 0)
    io_error("the torn end of the log can't be kept in log.torn");
  close(fd);
  buf_free(&end);
  if (ftruncate(s->fd, (off_t)offset) != 0 || fsync(s->fd) != 0) io_error("the log can't be cut");
  s->size = offset;
}

static bool store_append(store *s, span payload, uint64_t *offset) {
  uint8_t place[28], check[32];
  buf record = {0};
  if (payload.len > RECORD_MOST - TAG) die(70, "INTERNAL", "a record of the log would be too long", "", "report this");
  const uint32_t length = (uint32_t)(payload.len + TAG);
  place_of(s, s->size, length, place, check);
  buf_be(&record, length, 4);
  buf_put(&record, check, 4);
  randombytes_buf(buf_room(&record, 24), 24);
  buf_room(&record, length);
  crypto_aead_xchacha20poly1305_ietf_encrypt(record.p + FRONT, NULL, payload.p, payload.len, place, PLACE, NULL, record.p + 8, s->key);
  const bool written = write_all(s->fd, record.p, record.len, s->size);
  const bool full = !written && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG);
  if (!written && (!full || ftruncate(s->fd, (off_t)s->size) != 0)) io_error("the log can't be written");
  // Never tried again: after an error nobody knows what of it is on the disk.
  if (written && fdatasync(s->fd) != 0) io_error("the log can't be made durable");
  *offset = s->size;
  s->size += written ? record.len : 0;
  return buf_free(&record), written;
}
