// SPDX-License-Identifier: Apache-2.0
// The link to the parent over TCP (packages/transport-tcp/src/handshake.ts, frames.ts): connecting, handshake, sealed frames, signs of life.

#define TAG 16u
#define ANSWER 145u
#define HANDSHAKE_MS 5000u
#define SILENT_MS 10000u // then an empty message is sent
#define DEAD_MS 30000u   // without a byte
#define BACK_OFF_MS 250u
#define BACK_OFF_MOST_MS 30000u

static void keyed(const uint8_t key[32], const uint8_t *first, size_t first_len, const uint8_t *second, size_t second_len, uint8_t out[32]) {
  crypto_auth_hmacsha256_state state;
  crypto_auth_hmacsha256_init(&state, key, 32);
  crypto_auth_hmacsha256_update(&state, first, first_len);
  crypto_auth_hmacsha256_update(&state, second, second_len);
  crypto_auth_hmacsha256_final(&state, out);
}

// From the parent's answer to our hello: the keys of what is sent and received, and our proof. False: it is not the parent.
static bool link_keys(const leaf *l, const uint8_t answer[145], uint8_t keys[2][32], buf *proof) {
  static const char *const labels[] = {"client data", "server data", "client proof", "server proof"};
  static const uint8_t zeros[12];
  const link_state *k = &l->link;
  uint8_t h[32], dh[32] = {0}, prk[32], derived[4][32], signature[64];
  buf text = {0};
  buf_fmt(&text, "ctxmesh/leaf/v1\n");
  buf_put(&text, k->hello + 2, 64); // space, our device
  buf_put(&text, answer + 1, 32);
  buf_put(&text, k->hello + 66, 32);
  buf_put(&text, answer + 33, 32);
  crypto_hash_sha256(h, text.p, text.len);
  const bool agreed = answer[0] == 2 && memcmp(answer + 1, l->parent, 32) == 0 && crypto_scalarmult(dh, k->ephemeral, answer + 33) == 0;
  keyed(l->psk, dh, 32, h, 32, prk);
  for (int i = 0; i < 4; i++) keyed(prk, (const uint8_t *)labels[i], strlen(labels[i]), NULL, 0, derived[i]);
  text.len = 0;
  buf_fmt(&text, "ctxmesh/leaf-auth/v1\nS");
  buf_put(&text, h, 32);
  const bool proven = agreed && crypto_aead_chacha20poly1305_ietf_decrypt(signature, NULL, NULL, answer + 65, 80, h, 32, zeros, derived[3]) == 0 &&
                      crypto_sign_verify_detached(signature, text.p, text.len, l->parent) == 0;
  text.p[text.len - 33] = 'C';
  crypto_sign_detached(signature, NULL, text.p, text.len, l->secret);
  buf_put(proof, "\3", 1);
  crypto_aead_chacha20poly1305_ietf_encrypt(buf_room(proof, 80), NULL, signature, 64, h, 32, NULL, zeros, derived[2]);
  memcpy(keys, derived, 64);
  sodium_memzero(derived, sizeof derived);
  sodium_memzero(prk, sizeof prk);
  sodium_memzero(dh, sizeof dh);
  return buf_free(&text), proven;
}

static void nonce_of(uint64_t frame, uint8_t nonce[12]) {
  for (int i = 0; i < 12; i++) nonce[i] = (uint8_t)(i < 4 ? 0 : frame >> (8 * (11 - i)));
}

static void link_send(leaf *l, span message) {
  link_state *k = &l->link;
  uint8_t nonce[12];
  const size_t start = k->out.len;
  if (k->phase != OPEN) return;
  nonce_of(k->frames[0]++, nonce);
  buf_be(&k->out, message.len + TAG, 4);
  buf_room(&k->out, message.len + TAG);
  uint8_t *p = k->out.p + start;
  crypto_aead_chacha20poly1305_ietf_encrypt(p + 4, NULL, message.p, message.len, p, 4, NULL, nonce, k->keys[0]);
  k->sent_ms = tick_ms();
}

static void link_end(leaf *l, const char *why) {
  link_state *k = &l->link;
  if (k->phase == IDLE) return;
  fprintf(stderr, "link: %s: %s\n", l->address, why);
  close(k->fd);
  // Who stayed for a while is met again soon, and everybody at another moment.
  const uint64_t now = tick_ms(), next = k->phase == OPEN && now - k->since_ms > BACK_OFF_MOST_MS ? BACK_OFF_MS : 2 * k->back_off_ms;
  buf_free(&k->in);
  buf_free(&k->out);
  sodium_memzero(k->keys, sizeof k->keys);
  *k = (link_state){.back_off_ms = next < BACK_OFF_MS ? BACK_OFF_MS : next > BACK_OFF_MOST_MS ? BACK_OFF_MOST_MS : next};
  k->due_ms = now + k->back_off_ms / 2 + randombytes_uniform((uint32_t)k->back_off_ms / 2 + 1);
}

static void link_connect(leaf *l) {
  link_state *k = &l->link;
  char host[80];
  struct addrinfo *found = NULL;
  const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  const char *colon = strrchr(l->address, ':');
  const bool bracketed = l->address[0] == '[';
  if (colon == NULL) return;
  snprintf(host, sizeof host, "%.*s", (int)(colon - l->address) - (bracketed ? 2 : 0), l->address + bracketed);
  k->since_ms = k->heard_ms = k->sent_ms = tick_ms();
  k->phase = CONNECTING;
  k->fd = getaddrinfo(host, colon + 1, &hints, &found) == 0 ? socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) : -1;
  const bool begun = k->fd >= 0 && (connect(k->fd, found->ai_addr, found->ai_addrlen) == 0 || errno == EINPROGRESS);
  if (found != NULL) freeaddrinfo(found);
  if (!begun) link_end(l, "no connection can be made; the address is that of a machine, in digits, and its port");
}

static void hello_of(leaf *l) {
  uint8_t *hello = l->link.hello;
  hello[0] = hello[1] = 1;
  memcpy(hello + 2, l->space, 32);
  memcpy(hello + 34, l->device, 32);
  crypto_scalarmult_base(hello + 66, l->link.ephemeral);
}

static void connected(leaf *l) {
  link_state *k = &l->link;
  int error = 0;
  socklen_t size = sizeof error;
  if (getsockopt(k->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0) { link_end(l, strerror(error)); return; }
  randombytes_buf(k->ephemeral, 32);
  hello_of(l);
  buf_put(&k->out, k->hello, sizeof k->hello);
  k->phase = GREETING;
}

static bool take_frame(leaf *l, size_t *used) { // false: there is no whole one
  link_state *k = &l->link;
  reader r = read_of((span){k->in.p + *used, k->in.len - *used});
  uint8_t nonce[12];
  if (rd_left(&r) < 4) return false;
  const size_t length = (size_t)rd_be(&r, 4);
  if (length < TAG || length > MESSAGE_BYTES + TAG) return link_end(l, "a message is too long"), false;
  if (rd_left(&r) < length) return false;
  uint8_t *p = k->in.p + *used + 4;
  nonce_of(k->frames[1]++, nonce);
  *used += 4 + length;
  if (crypto_aead_chacha20poly1305_ietf_decrypt(p, NULL, NULL, p, length, p - 4, 4, nonce, k->keys[1]) != 0)
    return link_end(l, "a message was changed on its way"), false;
  if (length > TAG) session_message(l, (span){p, length - TAG});
  return k->phase == OPEN;
}

static void take_answer(leaf *l) {
  link_state *k = &l->link;
  if (k->in.len < ANSWER) return;
  if (!link_keys(l, k->in.p, k->keys, &k->out)) { link_end(l, "who answers is not the parent, or has another psk"); return; }
  buf_drop(&k->in, ANSWER);
  sodium_memzero(k->ephemeral, sizeof k->ephemeral);
  k->phase = OPEN;
  session_open(l);
}

static void link_step(leaf *l, short events) {
  link_state *k = &l->link;
  if (k->phase == CONNECTING && events != 0) { connected(l); return; }
  if (events & ~POLLOUT) {
    const size_t room = 65536, len = k->in.len;
    const ssize_t got = recv(k->fd, buf_room(&k->in, room), room, 0);
    k->in.len = len + (got > 0 ? (size_t)got : 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) { link_end(l, got == 0 ? "the parent has hung up" : strerror(errno)); return; }
    if (got > 0) k->heard_ms = tick_ms();
    if (k->phase == GREETING) take_answer(l);
  }
  size_t used = 0; // a short question may have a long answer, so those that are not read are not many
  while (k->phase == OPEN && k->out.len < MESSAGE_BYTES && take_frame(l, &used)) continue;
  if (k->phase == OPEN) buf_drop(&k->in, used);
  const ssize_t put = k->phase >= GREETING && k->out.len > 0 ? send(k->fd, k->out.p, k->out.len, MSG_NOSIGNAL) : 0;
  if (put > 0) buf_drop(&k->out, (size_t)put);
  if (put < 0 && errno != EAGAIN && errno != EINTR) link_end(l, strerror(errno));
}

static short link_events(const leaf *l) {
  const link_state *k = &l->link;
  if (k->phase == CONNECTING) return POLLOUT;
  return (short)((k->out.len < MESSAGE_BYTES ? POLLIN : 0) | (k->out.len > 0 ? POLLOUT : 0)); // who does not read is not listened to
}

static void link_tick(leaf *l) {
  link_state *k = &l->link;
  const uint64_t now = tick_ms();
  if (k->phase == IDLE && l->address[0] != 0 && now >= k->due_ms) { link_connect(l); return; }
  if ((k->phase == CONNECTING || k->phase == GREETING) && now - k->since_ms > HANDSHAKE_MS) { link_end(l, "no answer in time"); return; }
  if (k->phase != OPEN) return;
  if (now - k->heard_ms > DEAD_MS) { link_end(l, "the parent has gone silent"); return; }
  if (now - k->sent_ms > SILENT_MS) link_send(l, (span){NULL, 0});
  session_tick(l);
}
