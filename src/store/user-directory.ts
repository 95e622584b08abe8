import { sql, type Kysely } from 'kysely'
import type { Tables } from './tables.js'

/** Finding local users by parts of their ids and display names. Reads only. */

export interface FoundUser {
  readonly userId: string
  readonly displayName: string | undefined
  readonly avatarUrl: string | undefined
}

/**
 * Users whose id or display name contains the term, whatever the case, and who share a room with the searcher or are in a
 * room that anybody may join or read. Names that begin with the term come first. Deactivated users are not found, nor is
 * the searcher. `term` must not hold U+0000.
 */
export async function searchUsers(
  db: Kysely<Tables>,
  searcher: string,
  term: string,
  limit: number,
): Promise<FoundUser[]> {
  const { rows } = await sql<{ user_id: string; displayname: string | null; avatar_url: string | null }>`
    select account.user_id, displayname, avatar_url
    from account left join profile using (user_id)
    where account.user_id <> ${searcher} and deactivated_ts is null
      and (strpos(lower(account.user_id), lower(${term})) > 0 or strpos(lower(displayname), lower(${term})) > 0)
      and exists (
        select from membership theirs join room_summary using (room)
        where theirs.user_id = account.user_id and theirs.membership = 'join'
          and (join_rule = 'public' or history_visibility = 'world_readable' or exists (
            select from membership mine
            where mine.user_id = ${searcher} and mine.room = theirs.room and mine.membership = 'join'))
      )
    order by
      not (starts_with(lower(displayname), lower(${term})) is true or starts_with(lower(account.user_id), lower('@' || ${term}))),
      displayname is null, account.user_id
    limit ${limit}
  `.execute(db)
  return rows.map((row) => ({
    userId: row.user_id,
    displayName: row.displayname ?? undefined,
    avatarUrl: row.avatar_url ?? undefined,
  }))
}
