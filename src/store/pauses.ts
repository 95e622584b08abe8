/**
 * For work on many things of which each is quick: between two of them, `if (isPauseDue()) await pause()` lets everybody
 * else have their turn. All who pause share what a turn of the event loop may take, and go on one a turn, in the order in
 * which they came: ten rooms at work hold up everybody for no longer than one.
 */

/** In ms. Somebody who waits for several such pieces of work still does not notice. */
const TURN = 8

/** When the first of those who may pause was at work in this turn; undefined: nobody was yet. */
let since: number | undefined
const waiting: (() => void)[] = []

export function isPauseDue(): boolean {
  return performance.now() - beginning() > TURN
}

export function pause(): Promise<void> {
  beginning()
  return new Promise((resolve) => waiting.push(resolve))
}

function beginning(): number {
  if (since === undefined) begin()
  return since!
}

function begin(): void {
  since = performance.now()
  setImmediate(nextTurn)
}

function nextTurn(): void {
  since = undefined
  const next = waiting.shift()
  if (next === undefined) return
  begin()
  next()
}
