/** Runs the task for all items, so many at once, and resolves when all have ended. @throws what the first that failed threw */
export async function someAtOnce<T>(
  items: readonly T[],
  atOnce: number,
  task: (item: T) => Promise<void>,
): Promise<void> {
  const left = items.values()
  const work = async () => {
    for (const item of left) await task(item)
  }
  const workers = await Promise.allSettled(Array.from({ length: Math.min(atOnce, items.length) }, work))
  for (const worker of workers) if (worker.status === 'rejected') throw worker.reason
}
