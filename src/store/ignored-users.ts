/** Users whose messages and invites are not shown: https://spec.matrix.org/v1.19/client-server-api/#ignoring-users */
import type { Kysely } from 'kysely'
import { isObject, own } from '../protocol/json.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'
import { accountData } from './account-data.js'
import type { LogTables } from './log-tables.js'

export const IGNORED_USERS = 'm.ignored_user_list'

export const noUsers: ReadonlySet<string> = new Set()

export const ignoredBy = async (db: Kysely<LogTables>, userId: string): Promise<ReadonlySet<string>> =>
  ignoredIn(await accountData(db, userId, 0, IGNORED_USERS))

export function ignoredIn(content: string | undefined): ReadonlySet<string> {
  if (content === undefined) return noUsers
  try {
    const value = parseJson(content).value
    const users = isObject(value) ? own(value, 'ignored_users') : undefined
    return isObject(users) ? new Set(Object.keys(users)) : noUsers
  } catch (cause) {
    // Nobody is ignored by what cannot be read. The log's listeners must not throw.
    if (cause instanceof JsonError) return noUsers
    throw cause
  }
}
