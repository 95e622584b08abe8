/** A binary heap: the smallest comes out first. */
export class Heap<T> {
  readonly #items: T[] = []

  constructor(private readonly isSmaller: (left: T, right: T) => boolean) {}

  push(item: T): void {
    const items = this.#items
    let at = items.length
    items.push(item)
    for (let parent = (at - 1) >> 1; at > 0 && this.isSmaller(item, items[parent]!); parent = (at - 1) >> 1) {
      items[at] = items[parent]!
      at = parent
    }
    items[at] = item
  }

  pop(): T | undefined {
    const items = this.#items
    const smallest = items[0]
    const last = items.pop()
    if (items.length > 0) this.#sink(last!)
    return smallest
  }

  /** Puts an item where the top was. */
  #sink(item: T): void {
    const items = this.#items
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= items.length) break
      if (child + 1 < items.length && this.isSmaller(items[child + 1]!, items[child]!)) child++
      if (!this.isSmaller(items[child]!, item)) break
      items[at] = items[child]!
      at = child
    }
    items[at] = item
  }
}
