/** Runs `work` for 0 … count-1, at most `width` at a time, in order of beginning. The first failure stops and rejects. */
export async function concurrently<T>(count: number, width: number, work: (index: number) => Promise<T>): Promise<T[]> {
  const results: T[] = new Array<T>(count)
  let next = 0
  let failed = false
  const lane = async () => {
    while (next < count && !failed) {
      const index = next++
      results[index] = await work(index).catch((cause: unknown) => {
        failed = true
        throw cause
      })
    }
  }
  await Promise.all(Array.from({ length: Math.min(width, count) }, lane))
  return results
}
