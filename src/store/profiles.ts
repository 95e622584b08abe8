import type { Kysely, Transaction } from 'kysely'
import { parseJson } from '../protocol/strict-json.js'
import type { Json, JsonObject } from '../protocol/json.js'
import type { Tables } from './tables.js'

/**
 * Profiles of local users: the display name and the avatar, which rooms are told of, and any other field.
 * https://spec.matrix.org/v1.19/client-server-api/#profiles
 */
export interface ProfileTables {
  profile: {
    user_id: string
    displayname: string | null
    avatar_url: string | null
    fields: string
    version: number
    told_version: number
  }
}

/** As `GET /profile/{userId}` answers it: fields that are not set are absent. */
export type Profile = JsonObject & { readonly displayname?: string; readonly avatar_url?: string }

/** `{}` for a user who set nothing, and for one who is not here. */
export async function profile(db: Kysely<Tables>, userId: string): Promise<Profile> {
  const row = await db.selectFrom('profile').selectAll().where('user_id', '=', userId).executeTakeFirst()
  return row === undefined ? {} : profileOf(row)
}

/** The display names and avatars of users. Those who set neither are absent. */
export async function profiles(db: Kysely<Tables>, userIds: readonly string[]): Promise<Map<string, Profile>> {
  if (userIds.length === 0) return new Map()
  const rows = await db
    .selectFrom('profile')
    .selectAll()
    .where((row) => row('user_id', '=', row.fn.any(row.val([...userIds]))))
    .execute()
  return new Map(rows.map((row) => [row.user_id, profileOf(row)]))
}

function profileOf(row: ProfileTables['profile']): Profile {
  return {
    ...(parseJson(row.fields).value as JsonObject),
    ...(row.displayname !== null && { displayname: row.displayname }),
    ...(row.avatar_url !== null && { avatar_url: row.avatar_url }),
  }
}

/** A whole profile, JSON keys and braces included, must stay under this. */
export const MAX_PROFILE_BYTES = 64 * 1024

/**
 * Sets a field, or deletes it (`undefined`). 'told' says whether rooms have to be told: the display name or the avatar
 * changed. 'too large': nothing was changed.
 */
export async function setProfileField(
  trx: Transaction<Tables>,
  userId: string,
  key: string,
  value: Json | undefined,
): Promise<'unchanged' | 'changed' | 'to be told' | 'too large'> {
  await trx
    .insertInto('profile')
    .values({ user_id: userId, displayname: null, avatar_url: null, fields: '{}', version: 0, told_version: 0 })
    .onConflict((conflict) => conflict.doNothing())
    .execute()
  const row = await trx
    .selectFrom('profile')
    .selectAll()
    .where('user_id', '=', userId)
    .forUpdate()
    .executeTakeFirstOrThrow()
  const before = profileOf(row)
  const after = withField(before, key, value)
  const text = JSON.stringify(after)
  if (text === JSON.stringify(before)) return 'unchanged'
  // A profile that came to be too large by other rules may still shrink.
  if (value !== undefined && Buffer.byteLength(text) >= MAX_PROFILE_BYTES) return 'too large'
  const isTold = key === 'displayname' || key === 'avatar_url'
  await trx
    .updateTable('profile')
    .set({ ...columnsOf(after), version: row.version + (isTold ? 1 : 0) })
    .where('user_id', '=', userId)
    .execute()
  return isTold ? 'to be told' : 'changed'
}

/** `Object.fromEntries` defines keys, `__proto__` too, as own ones. */
const withField = (profile: Profile, key: string, value: Json | undefined): Profile =>
  Object.fromEntries([
    ...Object.entries(profile).filter(([name]) => name !== key),
    ...(value === undefined ? [] : [[key, value] as const]),
  ]) as Profile

function columnsOf({ displayname, avatar_url, ...fields }: Profile) {
  return { displayname: displayname ?? null, avatar_url: avatar_url ?? null, fields: JSON.stringify(fields) }
}

export interface ProfileVersion {
  readonly profile: Profile
  readonly version: number
  /** Whether all joined rooms have been told of it. */
  readonly isTold: boolean
}

/** undefined: nothing was ever set. */
export async function profileVersion(db: Kysely<Tables>, userId: string): Promise<ProfileVersion | undefined> {
  const row = await db.selectFrom('profile').selectAll().where('user_id', '=', userId).executeTakeFirst()
  return row && { profile: profileOf(row), version: row.version, isTold: row.told_version >= row.version }
}

/** All joined rooms have been told of this version, or of a later one. */
export async function noteTold(db: Kysely<Tables>, userId: string, version: number): Promise<void> {
  await db
    .updateTable('profile')
    .set({ told_version: version })
    .where('user_id', '=', userId)
    .where('told_version', '<', version)
    .execute()
}

/** Users whose rooms have not been told of their newest profile, at most `limit`. */
export async function untoldProfiles(db: Kysely<Tables>, limit: number): Promise<string[]> {
  const rows = await db
    .selectFrom('profile')
    .select('user_id')
    .whereRef('told_version', '<', 'version')
    .orderBy('user_id')
    .limit(limit)
    .execute()
  return rows.map((row) => row.user_id)
}
