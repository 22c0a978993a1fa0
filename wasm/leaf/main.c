// SPDX-License-Identifier: Apache-2.0
// ctxmesh-leaf: the command, its settings and the loop. No threads; everything waits in one poll.

#include "leaf.h"
#include "bytes.c"
#include "facts.c"
#include "core.c"
#include "batch.c"
#include "store.c"
#include "replica.c"
#include "write.c"
#include "link.c"
#include "session.c"
#include "local.c"

static const char HELP[] =
    "ctxmesh-leaf " VERSION ": a member of a mesh without Node\n\n"
    "  ctxmesh-leaf init DIR                  make the keys, and print the device key for `ctxmesh space grant`\n"
    "  ctxmesh-leaf run DIR [--config FILE]   run; FILE (default DIR/leaf.conf) is what `ctxmesh leaf add` prints\n"
    "  ctxmesh-leaf check DIR                 read the log, and say what is in it\n\n"
    "Examples\n"
    "  ctxmesh-leaf init /var/lib/leaf\n"
    "  ctxmesh-leaf run /var/lib/leaf\n"
    "  printf 'put line-2/press-7 temperature 71.5\\n' | socat - UNIX-CONNECT:/var/lib/leaf/leaf.sock\n\n"
    "Exit codes: 0 done, 64 usage, 65 damaged, 66 something is missing, 70 a defect, 71 no memory, 74 the disk, 75 it runs already, 78 settings\n";

static _Noreturn void usage(const char *what) { die(64, "USAGE", what, "", "see ctxmesh-leaf --help"); }

static void set(leaf *l, char *name, char *value) {
  uint8_t seed[32];
  char *end = value;
  bool good = false;
  if (strcmp(name, "space") == 0) good = unhex(value, l->space, 32);
  else if (strcmp(name, "device") == 0) good = unhex(value, l->parent, 32);
  else if (strcmp(name, "psk") == 0) good = unhex(value, l->psk, 32);
  else if (strcmp(name, "store-key") == 0) good = unhex(value, l->log.key, 32);
  else if (strcmp(name, "device-seed") == 0) good = unhex(value, seed, 32) && crypto_sign_seed_keypair(l->device, l->secret, seed) == 0;
  else if (strcmp(name, "address") == 0) good = snprintf(l->address, sizeof l->address, "%s", value) < (int)sizeof l->address && strrchr(value, ':') != NULL;
  else if (strcmp(name, "socket") == 0) good = snprintf(l->socket_path, sizeof l->socket_path, "%s", value) < (int)sizeof l->socket_path;
  else if (strcmp(name, "log-limit") == 0) good = (l->log_limit = strtoull(value, &end, 10)) >= 65536 && l->log_limit <= 1ull << 40 && *end == 0;
  else if (strcmp(name, "docs") == 0) { // each once, in their order, as a subscription has them
    const char *last = NULL;
    for (size_t i = 0; i < l->prefixes.len; i += strlen(last) + 1) last = (const char *)l->prefixes.p + i;
    good = *value != 0 && strlen(value) <= DOC_BYTES && l->prefixes.len < 64 * DOC_BYTES && (last == NULL || strcmp(last, value) < 0);
    buf_put(&l->prefixes, value, strlen(value) + 1);
  }
  if (!good) die(78, "CONFIG_INVALID", "a setting is not known, or has a value that it can't have", name, "see wasm/leaf/README.md");
}

static void read_settings(leaf *l, const char *path, bool required) {
  char text[512], name[32], value[400];
  FILE *f = fopen(path, "re");
  if (f == NULL && required) die(66, "NOT_FOUND", "a file can't be read", path, "run ctxmesh-leaf init, and ctxmesh leaf add at the parent");
  while (f != NULL && fgets(text, sizeof text, f) != NULL) {
    const int n = sscanf(text, "%31s %399s", name, value);
    if (n == 2 && name[0] != '#') set(l, name, value);
    else if (n == 1 && name[0] != '#') die(78, "CONFIG_INVALID", "a setting has no value", name, "write each as: name value");
  }
  sodium_memzero(text, sizeof text);
  sodium_memzero(value, sizeof value);
  if (f != NULL) fclose(f);
}

static void init(const char *dir) {
  char path[512], hex[65];
  uint8_t seed[32], key[32], device[32], secret[64];
  buf text = {0};
  if (mkdir(dir, 0700) != 0 && errno != EEXIST) die(74, "STORE_IO", "the directory can't be made", dir, "make it, and give it to this user");
  snprintf(path, sizeof path, "%s/keys", dir);
  randombytes_buf(seed, 32);
  randombytes_buf(key, 32);
  crypto_sign_seed_keypair(device, secret, seed);
  buf_fmt(&text, "device-seed %s\n", sodium_bin2hex(hex, sizeof hex, seed, 32));
  buf_fmt(&text, "store-key %s\n", sodium_bin2hex(hex, sizeof hex, key, 32));
  const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) die(74, "STORE_IO", "the keys can't be written", strerror(errno), "a device has keys once: look for a file `keys` there");
  const int folder = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool written = write(fd, text.p, text.len) == (ssize_t)text.len && fsync(fd) == 0 && fsync(folder) == 0;
  if (!written) unlink(path);
  if (!written) die(74, "STORE_IO", "the keys can't be written", strerror(errno), "make room");
  sodium_memzero(text.p, text.len);
  buf_free(&text);
  printf("%s\n", sodium_bin2hex(hex, sizeof hex, device, 32));
}

static void open_dir(leaf *l, const char *dir) {
  char path[512];
  l->log_limit = 64 << 20;
  snprintf(l->log.dir, sizeof l->log.dir, "%s", dir);
  snprintf(path, sizeof path, "%s/keys", dir);
  read_settings(l, path, true);
  l->log.dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (l->log.dir_fd < 0) die(66, "NOT_FOUND", "there is no such directory", dir, "run ctxmesh-leaf init");
}

static void check(leaf *l) {
  buf text = {0};
  double facts = 0;
  uint8_t digest[32];
  replica_open(l, true);
  for (size_t i = 0; i < l->doc_count; i++) facts += core_stat(l->docs[i]->core, 0);
  replica_digest(l, digest);
  buf_hex(&text, digest, 32);
  printf("{\"facts\":%.0f,\"batches\":%zu,\"chains\":%zu,\"frontier\":\"%.64s\"}\n", facts, l->index_len, l->chain_count, (const char *)text.p);
  buf_free(&text);
}

static void listen_at(leaf *l, const char *dir) {
  struct sockaddr_un at = {.sun_family = AF_UNIX};
  if (l->socket_path[0] == 0 && snprintf(l->socket_path, sizeof l->socket_path, "%s/leaf.sock", dir) >= (int)sizeof l->socket_path)
    usage("the path of the socket is too long");
  memcpy(at.sun_path, l->socket_path, sizeof l->socket_path);
  l->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  unlink(l->socket_path);
  umask(077);
  if (l->listener < 0 || bind(l->listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(l->listener, 16) != 0)
    die(78, "CONFIG_INVALID", "the socket can't be made", strerror(errno), "choose another path with `socket`");
}

static int stop_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  sigprocmask(SIG_BLOCK, &set, NULL);
  return signalfd(-1, &set, SFD_CLOEXEC);
}

static bool turn(leaf *l, int signals) { // false: it is time to stop
  struct pollfd fds[3 + CLIENTS] = {{signals, POLLIN, 0}, {l->listener, POLLIN, 0}, {l->link.phase == IDLE ? -1 : l->link.fd, link_events(l), 0}};
  for (size_t i = 0; i < CLIENTS; i++) fds[3 + i] = (struct pollfd){l->clients[i].fd, l->clients[i].fd < 0 ? 0 : local_events(l, &l->clients[i]), 0};
  if (poll(fds, 3 + CLIENTS, l->link.phase == OPEN ? 50 : 200) < 0 && errno != EINTR) die(70, "INTERNAL", "poll", strerror(errno), "report this");
  if (fds[0].revents != 0) return false;
  if (fds[2].revents != 0 || l->link.in.len > 0) link_step(l, fds[2].revents);
  for (size_t i = 0; i < CLIENTS; i++)
    if (fds[3 + i].revents != 0) local_read(l, &l->clients[i], fds[3 + i].revents);
  // What came of the link and of all clients at once is one record, and one wait for the disk.
  if (!replica_flush(l)) link_end(l, "the disk is full");
  for (size_t i = 0; i < CLIENTS; i++)
    if (l->clients[i].fd >= 0) local_write(&l->clients[i]);
  if (fds[1].revents != 0) local_accept(l);
  link_tick(l);
  return true;
}

static void run(leaf *l, const char *dir, const char *config) {
  char path[512];
  snprintf(path, sizeof path, "%s/leaf.conf", dir);
  read_settings(l, config == NULL ? path : config, true);
  if (sodium_is_zero(l->space, 32) || (l->address[0] != 0 && (sodium_is_zero(l->parent, 32) || sodium_is_zero(l->psk, 32))))
    die(78, "CONFIG_INVALID", "space, or the device of the parent, or psk is missing", "", "take what `ctxmesh leaf add` prints");
  if (flock(l->log.dir_fd, LOCK_EX | LOCK_NB) != 0) die(75, "BUSY", "a leaf runs in this directory", dir, "stop it first");
  const int signals = stop_signals();
  signal(SIGPIPE, SIG_IGN);
  for (size_t i = 0; i < CLIENTS; i++) l->clients[i].fd = -1;
  replica_open(l, false);
  l->compact_at = l->log_limit;
  listen_at(l, dir);
  fprintf(stderr, "leaf: ready, %s\n", l->socket_path);
  while (turn(l, signals)) continue;
  replica_flush(l);
  unlink(l->socket_path);
}

int main(int argc, char **argv) {
  const char *command = argc > 1 ? argv[1] : "--help";
  if (strcmp(command, "--help") == 0) return fputs(HELP, stdout) < 0;
  if (strcmp(command, "--version") == 0) return puts(VERSION) < 0;
  if (sodium_init() < 0) die(70, "INTERNAL", "libsodium does not start", "", "look after its installation");
  if (argc < 3 || (argc > 3 && (argc != 5 || strcmp(argv[3], "--config") != 0))) usage("the arguments are not understood");
  if (strcmp(command, "init") == 0) return init(argv[2]), 0;
  static leaf program; // the only thing that lasts
  leaf *l = &program;
  open_dir(l, argv[2]);
  if (strcmp(command, "check") == 0) check(l);
  else if (strcmp(command, "run") == 0) run(l, argv[2], argc == 5 ? argv[4] : NULL);
  else usage("there is no such command");
  return 0;
}
