/**
 * How long a destination is left alone after so many failures in a row, in ms: 2, 4, 8 … seconds up to an hour, ±20 % so
 * that destinations which failed together do not return together. `random` in [0, 1).
 */
export function retryDelay(failures: number, random: number): number {
  const delay = Math.min(2_000 * 2 ** (failures - 1), 3_600_000)
  return Math.round(delay * (0.8 + 0.4 * random))
}
