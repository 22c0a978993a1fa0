// SPDX-License-Identifier: Apache-2.0
// The host of the facts core (wasm/README.md): what `wasm2c` asks of a runtime, and one instance for each document. Memory grows
// where it can, so that small machines have addresses for many; every access of the module is compared with its size, so no signal is needed.

#include "facts-core.h"

#define PAGE 65536u
#define LIMIT_BYTES 201326592.0 // `wasmDocumentBytes` of agents

uint32_t wasm_rt_call_stack_depth; // named by the code that wasm2c makes
static jmp_buf trapped;            // where a call into a module ends that goes wrong; calls are not nested

bool wasm_rt_is_initialized(void) { return true; }
void wasm_rt_trap(wasm_rt_trap_t code) { longjmp(trapped, (int)code); }

// The same number for the same types, which is all that is asked.
uint32_t wasm_rt_register_func_type(uint32_t params, uint32_t results, ...) {
  uint32_t id = params * 8 + results + 1;
  va_list args;
  va_start(args, results);
  for (uint32_t i = 0; i < params + results; i++) id = id * 7 + (uint32_t)va_arg(args, int);
  va_end(args);
  return id;
}

void wasm_rt_allocate_memory(wasm_rt_memory_t *m, uint32_t pages, uint32_t most) {
  void *p = mmap(NULL, (size_t)pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *m = (wasm_rt_memory_t){.data = no_null(p == MAP_FAILED ? NULL : p), .max_pages = most, .pages = pages, .size = pages * PAGE};
}
uint32_t wasm_rt_grow_memory(wasm_rt_memory_t *m, uint32_t pages) {
  const uint32_t old = m->pages;
  void *p = pages > m->max_pages - old ? MAP_FAILED : mremap(m->data, (size_t)old * PAGE, (size_t)(old + pages) * PAGE, MREMAP_MAYMOVE);
  if (p == MAP_FAILED) return UINT32_MAX;
  m->data = p;
  m->pages = old + pages;
  m->size = m->pages * PAGE;
  return old;
}
void wasm_rt_free_memory(wasm_rt_memory_t *m) { munmap(m->data, (size_t)m->pages * PAGE); }

void wasm_rt_allocate_funcref_table(wasm_rt_funcref_table_t *t, uint32_t elements, uint32_t most) {
  *t = (wasm_rt_funcref_table_t){.data = no_null(calloc(elements, sizeof *t->data)), .size = elements, .max_size = most};
}
void wasm_rt_free_funcref_table(wasm_rt_funcref_table_t *t) { free(t->data); }

struct core {
  Z_facts_instance_t wasm;
  bool broken; // by a trap: its memory is worth nothing
};
enum call { INIT, APPLY, MERGE, GET, DIFF, DIGEST };

static int enter(core *c, enum call which, span first, span second, span *answer) {
  Z_facts_instance_t *w = &c->wasm;
  int result = -9;
  if (which == INIT) {
    uint64_t seeds[2]; // so that nobody can choose keys that are slow to find
    randombytes_buf(seeds, sizeof seeds);
    Z_facts_instantiate(w);
    return Z_factsZ_init(w, LIMIT_BYTES, seeds[0], seeds[1]), 0;
  }
  if (first.len > UINT32_MAX / 2 || second.len > UINT32_MAX / 4) return -2;
  const uint32_t length = (uint32_t)(first.len + second.len), at = Z_factsZ_alloc(w, length);
  if (at == 0 || length > w->w2c_memory.size || at > w->w2c_memory.size - length) return -2;
  if (first.len > 0) memcpy(w->w2c_memory.data + at, first.p, first.len);
  if (second.len > 0) memcpy(w->w2c_memory.data + at + first.len, second.p, second.len);
  switch (which) {
  case APPLY: result = (int)Z_factsZ_apply(w, length); break;
  case MERGE: result = (int)Z_factsZ_merge(w, length); break;
  case GET: result = (int)Z_factsZ_get(w, length); break;
  case DIFF: result = (int)Z_factsZ_diff(w, length); break;
  case DIGEST: result = (int)Z_factsZ_digest(w); break;
  case INIT: break;
  }
  const uint32_t out = Z_factsZ_out(w), bytes = Z_factsZ_outLength(w);
  if (result >= 0 && out <= w->w2c_memory.size && bytes <= w->w2c_memory.size - out) *answer = (span){w->w2c_memory.data + out, bytes};
  return result;
}

static int call(core *c, enum call which, span first, span second, span *answer) {
  *answer = (span){NULL, 0};
  wasm_rt_call_stack_depth = 0;
  if (!c->broken && setjmp(trapped) == 0) return enter(c, which, first, second, answer);
  c->broken = true;
  return -9;
}

static core *core_open(void) {
  span none;
  core *c = no_null(calloc(1, sizeof *c));
  Z_facts_init_module();
  call(c, INIT, (span){NULL, 0}, (span){NULL, 0}, &none);
  return c;
}
static void core_close(core *c) {
  Z_facts_free(&c->wasm);
  free(c);
}
static int core_apply(core *c, const uint8_t *chain, span frame, span *changed) {
  return call(c, APPLY, (span){chain, CHAIN_BYTES}, frame, changed);
}
static int core_merge(core *c, span state) { return call(c, MERGE, state, (span){NULL, 0}, &state); }
static int core_get(core *c, span key, span *slots) { return call(c, GET, key, (span){NULL, 0}, slots); }
static int core_state(core *c, span *state) { return call(c, DIFF, (span){(const uint8_t *)"", 1}, (span){NULL, 0}, state); } // of who has nothing
static int core_digest(core *c, span *root) { return call(c, DIGEST, (span){NULL, 0}, (span){NULL, 0}, root); }
static double core_stat(core *c, uint32_t which) { return c->broken ? 0 : Z_factsZ_stat(&c->wasm, which); }
