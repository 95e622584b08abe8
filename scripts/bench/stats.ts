/** The figures of a run: percentiles within a round, medians across rounds. Missing figures are `undefined` and stay so. */

/** One round's figures by column key. */
export type Figures = Readonly<Record<string, number | undefined>>

/** The nearest-rank percentile, `share` in 0..1: the smallest sample that at least that share of all samples does not exceed. */
export function percentile(samples: readonly number[], share: number): number | undefined {
  const sorted = Float64Array.from(samples).sort()
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]
}

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly (number | undefined)[]): number | undefined {
  const sorted = values.filter((value) => value !== undefined && !Number.isNaN(value)).sort((a, b) => a! - b!)
  const middle = sorted.length >> 1
  const upper = sorted[middle]
  if (upper === undefined || sorted.length % 2 === 1) return upper
  return (sorted[middle - 1]! + upper) / 2
}

/** The median of each column over the rounds that have it. */
export function medians(rounds: readonly Figures[]): Figures {
  const keys = new Set(rounds.flatMap((round) => Object.keys(round)))
  return Object.fromEntries([...keys].map((key) => [key, median(rounds.map((round) => round[key]))]))
}

/**
 * The median of the ratios round by round. On a noisy machine this says more than a ratio of medians: the two rounds
 * compared ran next to each other.
 */
export function medianRatio(
  rounds: readonly Figures[],
  base: readonly Figures[],
  key: string,
  baseKey = key,
): number | undefined {
  return median(rounds.map((round, index) => quotient(round[key], base[index]?.[baseKey])))
}

export function quotient(dividend: number | undefined, divisor: number | undefined): number | undefined {
  if (dividend === undefined || divisor === undefined || divisor === 0) return undefined
  return dividend / divisor
}
