import { newSecret } from '../accounts/secrets.js'
import { insertRegistrationToken } from '../store/registration-tokens.js'
import { withServerDatabase } from './with-server-database.js'

/** Prints the token and nothing else, so that a script can take it. */
export async function addToken({ uses, expires }: { uses?: number; expires?: number }): Promise<void> {
  const token = newSecret()
  await withServerDatabase('hearth token add', async ({ db }) => {
    await insertRegistrationToken(db, { token, usesAllowed: uses, expiresTs: expires }, Date.now())
  })
  process.stdout.write(`${token}\n`)
}

const units: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000 }

/** `7d`, or an ISO date or time, as milliseconds since 1970; undefined where it is neither or has passed. */
export function parseExpiry(text: string, nowTs: number): number | undefined {
  const span = /^(\d{1,6})([mhdw])$/.exec(text)
  const when = span === null ? isoTime(text) : nowTs + Number(span[1]) * (units[span[2] ?? ''] ?? NaN)
  return Number.isSafeInteger(when) && when > nowTs ? when : undefined
}

const isoTime = (text: string): number =>
  /^\d{4}-\d\d-\d\d(T[\d:.]+(Z|[+-]\d\d:\d\d)?)?$/.test(text) ? Date.parse(text) : NaN
