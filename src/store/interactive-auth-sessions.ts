import { sql, type Kysely } from 'kysely'
import type { Tables } from './tables.js'

/**
 * User-interactive authentication that has begun and is not complete. In the database, because the requests of one session
 * may reach different processes. What clients show in a stage (a password) is looked at and never kept.
 */
export interface InteractiveAuthTables {
  interactive_auth_session: {
    session: string
    operation: string
    completed: string[]
    registration_token: string | null
    expires_ts: number
  }
}

/** From its last stage on. */
const LIFETIME_MS = 15 * 60_000

export interface InteractiveAuthSession {
  readonly session: string
  readonly operation: string
  readonly completed: readonly string[]
  readonly registrationToken: string | undefined
}

/** Undefined when there is none of that name, or no more. */
export async function interactiveAuthSession(
  db: Kysely<Tables>,
  session: string,
  nowTs: number,
): Promise<InteractiveAuthSession | undefined> {
  const row = await db
    .selectFrom('interactive_auth_session')
    .selectAll()
    .where('session', '=', session)
    .where('expires_ts', '>', nowTs)
    .executeTakeFirst()
  if (row === undefined) return undefined
  const { operation, completed } = row
  return { session, operation, completed, registrationToken: row.registration_token ?? undefined }
}

/** Makes or replaces the session, and deletes those that have ended. */
export async function putInteractiveAuthSession(
  db: Kysely<Tables>,
  { session, operation, completed, registrationToken }: InteractiveAuthSession,
  nowTs: number,
): Promise<void> {
  const token = registrationToken ?? null
  const expires = nowTs + LIFETIME_MS
  await sql`
    with ended as (delete from interactive_auth_session where expires_ts <= ${nowTs} and session <> ${session})
    insert into interactive_auth_session (session, operation, completed, registration_token, expires_ts)
    values (${session}, ${operation}, ${[...completed]}, ${token}, ${expires})
    on conflict (session) do update
    set completed = excluded.completed, registration_token = excluded.registration_token, expires_ts = excluded.expires_ts
  `.execute(db)
}

/** True for the one who deletes it: of two requests with one complete session, one goes on. */
export async function endInteractiveAuthSession(db: Kysely<Tables>, session: string): Promise<boolean> {
  const { numDeletedRows } = await db
    .deleteFrom('interactive_auth_session')
    .where('session', '=', session)
    .executeTakeFirst()
  return numDeletedRows === 1n
}
