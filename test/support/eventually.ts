/** Waits for a condition that somebody else brings about: asked again until it holds, or until it takes too long. */
export async function eventually<T>(
  what: string,
  condition: () => T | Promise<T>,
  { within = 10_000, every = 20 } = {},
): Promise<NonNullable<T>> {
  const deadline = performance.now() + within
  for (;;) {
    const answer = await condition()
    if (answer) return answer
    if (performance.now() > deadline) throw new Error(`within ${within} ms it did not come about that ${what}`)
    await new Promise((resolve) => setTimeout(resolve, every))
  }
}
