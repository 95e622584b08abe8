/** Resolves when the work has ended, however it did, or after so many ms. The work goes on. */
export async function settledWithin(ms: number, work: Promise<unknown>): Promise<void> {
  const patience = new AbortController()
  const timer = setTimeout(() => patience.abort(), ms)
  await settledBefore(patience.signal, work)
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
