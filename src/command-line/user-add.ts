import { createInterface } from 'node:readline'
import { isCancel, password as askPassword } from '@clack/prompts'
import { AccessTokens } from '../accounts/access-tokens.js'
import { Accounts } from '../accounts/accounts.js'
import { PasswordGuesses } from '../accounts/password-guesses.js'
import { isTooShort, Passwords, TOO_SHORT } from '../accounts/passwords.js'
import { silentLogger } from '../logger.js'
import { withServerDatabase } from './with-server-database.js'

/** `name` is the part of the user id before the colon. A name that is taken is refused before a password is asked for. */
export async function addUser(name: string, { admin = false }: { admin?: boolean }): Promise<void> {
  await withServerDatabase('hearth user add', async ({ db }, { serverName }) => {
    const accounts = new Accounts({
      db,
      serverName,
      passwords: new Passwords(),
      guesses: new PasswordGuesses(false),
      accessTokens: new AccessTokens({ db, logger: silentLogger }),
    })
    const localpart = localpartIn(name, serverName)
    const wanted = await accounts.checkAvailable(localpart)
    const password = await newPassword(wanted)
    const { userId } = await accounts.register({ localpart, password, isAdmin: admin })
    process.stdout.write(`${userId} ${admin ? 'is an administrator and ' : ''}can log in now\n`)
  })
}

/** People also give the whole user id. */
function localpartIn(name: string, serverName: string): string {
  if (!name.startsWith('@')) return name
  const suffix = `:${serverName}`
  if (!name.endsWith(suffix)) throw new Error(`${name} is not a user id of this server, which is ${serverName}`)
  return name.slice(1, -suffix.length)
}

async function newPassword(userId: string): Promise<string> {
  if (process.stdin.isTTY !== true) return longEnough(await lineOfStdin())
  const first = await ask(`Password for ${userId}`)
  if ((await ask('The same again')) !== first) throw new Error('The two passwords differ; nothing was done')
  return first
}

function longEnough(password: string): string {
  if (isTooShort(password)) throw new Error(TOO_SHORT)
  return password
}

async function ask(message: string): Promise<string> {
  const answer = await askPassword({ message, validate: (text = '') => (isTooShort(text) ? TOO_SHORT : undefined) })
  if (isCancel(answer)) throw new Error('Nothing was done')
  return answer
}

async function lineOfStdin(): Promise<string> {
  for await (const line of createInterface({ input: process.stdin })) return line
  throw new Error('No password: give it as one line on standard input')
}
