// SPDX-License-Identifier: Apache-2.0
// What the leaf answers in a handshake, for test/leaf-handshake.test.ts: arguments and lines are hex.
//   handshake space clientSeed clientScalar serverDevice psk answer [frame ...]  ->  hello, proof, keys of what is sent and received,
//   the first frame of an empty message; or "refused"
#include "../../wasm/leaf/leaf.h"

#include "../../wasm/leaf/bytes.c"
#include "../../wasm/leaf/facts.c"
#include "../../wasm/leaf/core.c"
#include "../../wasm/leaf/batch.c"
#include "../../wasm/leaf/store.c"
#include "../../wasm/leaf/replica.c"
#include "../../wasm/leaf/write.c"
#include "../../wasm/leaf/link.c"
#include "../../wasm/leaf/session.c"
#include "../../wasm/leaf/local.c"

static void print(const uint8_t *p, size_t n) {
  buf text = {0};
  buf_hex(&text, p, n);
  printf("%.*s\n", (int)text.len, (const char *)text.p);
  buf_free(&text);
}

int main(int argc, char **argv) {
  static leaf program;
  leaf *l = &program;
  uint8_t seed[32], answer[145];
  buf proof = {0};
  if (sodium_init() < 0 || argc < 7) return 64;
  if (!unhex(argv[1], l->space, 32) || !unhex(argv[2], seed, 32) || !unhex(argv[3], l->link.ephemeral, 32)) return 64;
  if (!unhex(argv[4], l->parent, 32) || !unhex(argv[5], l->psk, 32) || !unhex(argv[6], answer, 145)) return 64;
  crypto_sign_seed_keypair(l->device, l->secret, seed);
  hello_of(l);
  print(l->link.hello, sizeof l->link.hello);
  if (!link_keys(l, answer, l->link.keys, &proof)) return puts("refused") < 0;
  print(proof.p, proof.len);
  print(l->link.keys[0], 32);
  print(l->link.keys[1], 32);
  for (int i = 7; i < argc; i++) {
    buf message = {0};
    const size_t n = strlen(argv[i]) / 2;
    if (n > 0 && !unhex(argv[i], buf_room(&message, n), n)) return 64;
    l->link.phase = OPEN;
    link_send(l, SPAN(message));
    print(l->link.out.p, l->link.out.len);
    buf_drop(&l->link.out, l->link.out.len);
    buf_free(&message);
  }
  buf_free(&proof);
  buf_free(&l->link.out);
  return 0;
}
