/** Parents before children. */
export interface Ordered<T> {
  readonly ordered: readonly T[]
  /** What is in a circle of claimed edges, and what stands on one. Ids that are hashes cannot make circles. */
  readonly cyclic: readonly T[]
}

/** Edges to what is not in `items` mean nothing. Of equals, the order stays as it was; a duplicate key is an item less. */
export function inOrder<T>(
  items: Iterable<T>,
  idOf: (item: T) => string,
  parentsOf: (item: T) => Iterable<string>,
): Ordered<T> {
  const byId = new Map<string, T>()
  for (const item of items) if (!byId.has(idOf(item))) byId.set(idOf(item), item)
  const waiting = new Map<string, number>()
  const children = new Map<string, string[]>()
  for (const [id, item] of byId) {
    const parents = new Set([...parentsOf(item)].filter((parent) => byId.has(parent)))
    waiting.set(id, parents.size)
    for (const parent of parents) {
      const known = children.get(parent)
      if (known === undefined) children.set(parent, [id])
      else known.push(id)
    }
  }
  const order = [...byId.keys()].filter((id) => waiting.get(id) === 0)
  // Grows while it is walked.
  for (const id of order) {
    for (const child of children.get(id) ?? []) {
      const left = waiting.get(child)! - 1
      waiting.set(child, left)
      if (left === 0) order.push(child)
    }
  }
  const done = new Set(order)
  return {
    ordered: order.map((id) => byId.get(id)!),
    cyclic: [...byId].filter(([id]) => !done.has(id)).map(([, item]) => item),
  }
}
