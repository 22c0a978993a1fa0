// SPDX-License-Identifier: Apache-2.0
// One fuzz target for all that comes from outside; the first byte of an input chooses. Signatures and hashes of bodies count as good
// (in place of those checks stand others), so that what is behind them is reached; the end of the program is the end of an input.
//
//   0  a batch   1  messages of a parent, each behind its length of two bytes   2  lines of a client   3  the log behind its head
//   4  payloads of the log, each behind its length of two bytes                 5  a facts frame and JSON
#include "../leaf.h"

_Noreturn static void die(int status, const char *code, const char *text, const char *detail, const char *remedy);
static bool batch_signed(const batch *b);
static bool batch_bodies_ok(const batch *b);
#define die real_die
#include "../bytes.c"
#undef die
#include "../facts.c"
#include "../core.c"
#define batch_signed real_batch_signed
#define batch_bodies_ok real_batch_bodies_ok
#include "../batch.c"
#undef batch_signed
#undef batch_bodies_ok
#include "../store.c"
#include "../replica.c"
#include "../write.c"
#include "../link.c"
#include "../session.c"
#include "../local.c"

static jmp_buf over;
static leaf *l;
static char dir[] = "/dev/shm/ctxmesh-leaf-fuzz-XXXXXX";
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool batch_signed(const batch *b) { return b != NULL; }
static bool batch_bodies_ok(const batch *b) {
  uint64_t whole = b->header.len;
  for (size_t i = 0; i < b->section_count; i++) whole += b->sections[i].body.len;
  return whole <= BATCH_BYTES;
}
static _Noreturn void die(int status, const char *code, const char *text, const char *detail, const char *remedy) {
  (void)text, (void)detail, (void)remedy;
  if (status == 70) fprintf(stderr, "a defect: %s\n", code), abort();
  longjmp(over, 1);
}

static void fresh(void) {
  l = no_null(calloc(1, sizeof *l));
  snprintf(l->log.dir, sizeof l->log.dir, "%s", dir);
  l->log.dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
  l->log_limit = l->compact_at = 1 << 20;
  memset(l->space, 0x5a, 32);
  uint8_t seed[32] = {7};
  crypto_sign_seed_keypair(l->device, l->secret, seed);
  for (size_t i = 0; i < CLIENTS; i++) l->clients[i].fd = -1;
  // A member whose key is all twos, with every role.
  cb_put(&l->roster, "[4ui[1[3ho[1[3uuu[0", (uint64_t)4, l->space, "\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2\2", 0, (uint64_t)3, (uint64_t)0, (uint64_t)1 << 50);
  if (!store_create(&l->log, "log")) abort();
}
static void clear(void) {
  for (size_t i = 0; i < l->doc_count; i++) {
    core_close(l->docs[i]->core);
    buf_free(&l->docs[i]->draft);
    free(l->docs[i]);
  }
  for (size_t i = 0; i < l->chain_count; i++) free(l->chains[i]);
  for (size_t i = 0; i < CLIENTS; i++) {
    if (l->clients[i].fd >= 0) close(l->clients[i].fd);
    buf_free(&l->clients[i].in), buf_free(&l->clients[i].out), buf_free(&l->clients[i].prefix);
  }
  buf *all[] = {&l->roster, &l->group, &l->body, &l->packed, &l->link.in, &l->link.out, &l->prefixes};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) buf_free(all[i]);
  free(l->index);
  close(l->log.fd);
  close(l->log.dir_fd);
  free(l);
}

static bool piece(reader *r, span *s) {
  const uint64_t n = rd_left(r) < 2 ? 0 : rd_be(r, 2);
  *s = (span){rd_left(r) == 0 ? NULL : r->at, n < rd_left(r) ? (size_t)n : rd_left(r)};
  if (s->len > 0) rd_take(r, s->len);
  return s->len > 0;
}

static void messages(reader r) {
  span s;
  l->link = (link_state){.phase = OPEN, .fd = -1, .greeted = true};
  while (piece(&r, &s) && l->link.phase == OPEN) {
    buf copy = {0};
    buf_put(&copy, s.p, s.len);
    session_message(l, SPAN(copy));
    buf_free(&copy);
    replica_flush(l);
    buf_drop(&l->link.out, l->link.out.len);
  }
}

static void lines(reader r) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) != 0) return;
  l->clients[0] = (client){.fd = ends[0]};
  if (send(ends[1], r.at, rd_left(&r), 0) > 0) local_read(l, &l->clients[0], POLLIN);
  replica_flush(l);
  close(ends[1]);
}

static void log_of(reader r, bool raw) {
  span s;
  uint64_t at;
  if (raw && pwrite(l->log.fd, r.at, rd_left(&r), STORE_FIRST) < 0) return;
  while (!raw && piece(&r, &s)) store_append(&l->log, s, &at);
  close(l->log.fd);
  replica_open(l, true);
  if (l->log.size < 1 << 20) replica_compact(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static bool begun;
  // The sanitizers write to the descriptor itself.
  if (!begun && (sodium_init() < 0 || mkdtemp(dir) == NULL || (stderr = fopen("/dev/null", "w")) == NULL)) abort();
  begun = true;
  if (size < 2) return 0;
  reader r = read_of((span){data + 1, size - 1});
  fresh();
  if (setjmp(over) == 0) {
    if (data[0] % 6 == 0) replica_take(l, (span){r.at, rd_left(&r)}), replica_flush(l);
    if (data[0] % 6 == 1) messages(r);
    if (data[0] % 6 == 2) lines(r);
    if (data[0] % 6 == 3 || data[0] % 6 == 4) log_of(r, data[0] % 6 == 3);
    if (data[0] % 6 == 5) {
      frame f;
      json_ok((span){r.at, rd_left(&r)}, data[0] & 1);
      if (frame_open(&f, &r, FACTS_PER_FRAME))
        while (frame_next(&f, &r)) continue;
    }
  }
  clear();
  return 0;
}

#ifdef STANDALONE // without libFuzzer: random changes of the files that are named, for so many seconds
int main(int argc, char **argv) {
  static uint8_t input[1 << 16];
  const time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 10);
  unsigned long runs = 0;
  for (; time(NULL) < end; runs++) {
    size_t n = 0;
    FILE *f = argc > 2 ? fopen(argv[2 + randombytes_uniform((uint32_t)argc - 2)], "rb") : NULL;
    if (f != NULL) n = fread(input, 1, sizeof input, f), fclose(f);
    else randombytes_buf(input, n = 1 + randombytes_uniform(512));
    for (uint32_t i = randombytes_uniform(8); i > 0 && n > 0; i--) input[randombytes_uniform((uint32_t)n)] = (uint8_t)randombytes_uniform(256);
    LLVMFuzzerTestOneInput(input, n);
  }
  printf("%lu runs\n", runs);
}
#endif
