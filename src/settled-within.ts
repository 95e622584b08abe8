/** Resolves when the work has ended, however it did, or after so many ms. The work goes on. */
export async function settledWithin(ms: number, work: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const outOfPatience = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)))
  const ended = work.then(
    () => undefined,
    () => undefined,
  )
  await Promise.race([ended, outOfPatience])
  clearTimeout(timer)
}
