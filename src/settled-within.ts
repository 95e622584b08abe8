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

/** As `settledWithin`, or when the signal is aborted. */
export async function settledBefore(signal: AbortSignal, work: Promise<unknown>): Promise<void> {
  if (signal.aborted) return
  await new Promise<void>((resolve) => {
    const end = () => {
      signal.removeEventListener('abort', end)
      resolve()
    }
    signal.addEventListener('abort', end)
    work.then(end, end)
  })
}
