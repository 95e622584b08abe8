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
