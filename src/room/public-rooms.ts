/**
 * This server's published rooms, a page at a time, those with the most members first.
 * https://spec.matrix.org/v1.19/client-server-api/#published-room-directory
 *
 * Tokens count the rooms before the page: a room whose place changes meanwhile may be shown twice or not at all. Bridged
 * networks are not known here.
 */
import type { Kysely } from 'kysely'
import { invalidParam } from '../protocol/matrix-error.js'
import { publishedRooms, type DirectoryQuery } from '../store/directory.js'
import type { LogTables } from '../store/log-tables.js'
import { roomChunk, type RoomChunk } from './room-chunk.js'

export interface PublicRoomsPage {
  readonly limit?: number | undefined
  readonly since?: string | undefined
}

/** As clients and servers search for rooms. */
export interface PublicRoomsFilter {
  readonly generic_search_term?: string | null | undefined
  /** null: rooms without a type. */
  readonly room_types?: readonly (string | null)[] | null | undefined
}

/** As it is answered. */
export interface PublicRooms {
  readonly chunk: readonly RoomChunk[]
  readonly next_batch?: string | undefined
  readonly prev_batch?: string | undefined
  readonly total_room_count_estimate?: number | undefined
}

const DEFAULT_LIMIT = 100
export const MAX_PUBLIC_ROOMS = 1_000

/** `forServers` leaves out rooms that other servers cannot join. */
export async function publicRooms(
  db: Kysely<LogTables>,
  page: PublicRoomsPage,
  filter: PublicRoomsFilter = {},
  { forServers = false } = {},
): Promise<PublicRooms> {
  const offset = page.since === undefined ? 0 : offsetOf(page.since)
  const limit = Math.min(page.limit ?? DEFAULT_LIMIT, MAX_PUBLIC_ROOMS)
  const { rooms, total } = await publishedRooms(db, { ...selection(filter), forServers, offset, limit })
  return {
    chunk: rooms.map((room) => roomChunk(room.room_id, room)),
    total_room_count_estimate: total,
    ...(offset + rooms.length < total && rooms.length > 0 && { next_batch: tokenOf(offset + rooms.length) }),
    ...(offset > 0 && { prev_batch: tokenOf(Math.max(0, offset - limit)) }),
  }
}

/** What no column can hold, no room has. */
function selection(given: PublicRoomsFilter): Pick<DirectoryQuery, 'term' | 'types'> {
  const term = given.generic_search_term?.replaceAll('\0', '')
  const types = given.room_types?.filter((type) => !type?.includes('\0'))
  return { ...(term && { term }), ...(types !== undefined && { types }) }
}

const tokenOf = (offset: number): string => `p${offset}`

function offsetOf(token: string): number {
  const match = /^p(\d{1,9})$/.exec(token)
  if (match === null) throw invalidParam('since is not a token of this server')
  return Number(match[1])
}
