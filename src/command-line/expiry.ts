const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 }

/** `7d`, or an ISO date or time, as milliseconds since 1970; undefined where it is neither or has passed. */
export function parseExpiry(text: string, nowTs: number): number | undefined {
  const span = /^(\d{1,6})([mhdw])$/.exec(text)
  const when = span === null ? isoTime(text) : nowTs + Number(span[1]) * (units[span[2] ?? ''] ?? NaN)
  return Number.isSafeInteger(when) && when > nowTs ? when : undefined
}

const isoTime = (text: string): number =>
  /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d)?)?$/.test(text) ? Date.parse(text) : NaN
