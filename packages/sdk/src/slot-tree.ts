// SPDX-License-Identifier: Apache-2.0
/**
 * Values in slots, and all of them combined into one: a segment tree (Bentley 1977) in an array, whose node `i` combines `2 i` and `2 i + 1`. A
 * change costs as many steps as the tree is deep, reading the whole costs one.
 */

const FIRST_CAPACITY = 16;

/** Values that are combined with an operation which is associative and commutative. */
export class SlotTree<Value> {
  readonly #combine: (a: Value, b: Value) => Value;
  #capacity = FIRST_CAPACITY;
  /** Absent where no slot below has a value. */
  #nodes: (Value | undefined)[] = Array.from({ length: 2 * FIRST_CAPACITY });
  readonly #free: number[] = [];
  #used = 0;

  constructor(combine: (a: Value, b: Value) => Value) {
    this.#combine = combine;
  }

  /** All values combined; undefined when there are none. */
  get whole(): Value | undefined {
    return this.#nodes[1];
  }

  /** The value in a slot. */
  at(slot: number): Value | undefined {
    return this.#nodes[this.#capacity + slot];
  }

  /** Adds a value; returns its slot. */
  add(value: Value): number {
    const slot = this.#free.pop() ?? this.#used++;
    if (slot === this.#capacity) this.#grow();
    this.set(slot, value);
    return slot;
  }

  /** Replaces the value in a slot; undefined gives the slot back. */
  set(slot: number, value: Value | undefined): void {
    if (value === undefined) this.#free.push(slot);
    let node = this.#capacity + slot;
    this.#nodes[node] = value;
    for (node >>= 1; node >= 1; node >>= 1) this.#fold(node);
  }

  #fold(node: number): void {
    const left = this.#nodes[2 * node];
    const right = this.#nodes[2 * node + 1];
    this.#nodes[node] =
      left === undefined ? right : right === undefined ? left : this.#combine(left, right);
  }

  #grow(): void {
    const leaves = this.#nodes.slice(this.#capacity);
    this.#capacity *= 2;
    this.#nodes = Array.from({ length: 2 * this.#capacity });
    for (const [slot, value] of leaves.entries()) this.#nodes[this.#capacity + slot] = value;
    for (let node = this.#capacity - 1; node >= 1; node--) this.#fold(node);
  }
}
