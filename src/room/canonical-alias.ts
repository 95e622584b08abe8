import { isRoomAlias } from '../protocol/identifiers.js'
import { own, type Json, type JsonObject } from '../protocol/json.js'
import { badAlias, badJson, invalidParam, MatrixError } from '../protocol/matrix-error.js'
import { someAtOnce } from '../some-at-once.js'
import type { ResolvedAlias } from './aliases.js'
import type { KnownRoom } from './known-room.js'
import type { Rooms } from './rooms.js'

export interface CanonicalAliasDeps {
  readonly rooms: Rooms
  /** Of this server and of others. */
  readonly remoteQueries: { resolveAlias(alias: string): Promise<ResolvedAlias> }
}

/** Each may have to be asked for at another server, while a client waits. */
const MOST_ADDED = 100
const AT_ONCE = 8

/**
 * Aliases that an `m.room.canonical_alias` event adds must exist and point to its room; those it had before may stay.
 * https://spec.matrix.org/v1.19/client-server-api/#put_matrixclientv3roomsroomidstateeventtypestatekey
 *
 * @throws MatrixError 400
 */
export async function checkCanonicalAlias(
  { rooms, remoteQueries }: CanonicalAliasDeps,
  name: KnownRoom,
  content: JsonObject,
): Promise<void> {
  const current = await rooms.currentState(name, 'm.room.canonical_alias', '')
  const before = new Set(current === undefined ? [] : aliasesIn(current.event.content).filter(isText))
  const added = new Set<string>()
  for (const given of aliasesIn(content)) {
    if (!isText(given)) throw badJson('body.alias must be a string, and body.alt_aliases a list of strings')
    if (before.has(given)) continue
    if (!isRoomAlias(given)) throw invalidParam(`${given.slice(0, 300)} is no room alias`)
    added.add(given)
  }
  if (added.size > MOST_ADDED) throw invalidParam(`A room is given at most ${MOST_ADDED} new aliases at once`)
  await someAtOnce([...added], AT_ONCE, async (alias) => {
    if ((await roomIdOf(remoteQueries, alias)) !== name.roomId) throw badAlias(`${alias} is not an alias of this room`)
  })
}

async function roomIdOf(queries: CanonicalAliasDeps['remoteQueries'], alias: string): Promise<string | undefined> {
  try {
    return (await queries.resolveAlias(alias)).roomId
  } catch (cause) {
    // Unknown, or its server cannot be asked.
    if (cause instanceof MatrixError) return undefined
    throw cause
  }
}

const isText = (value: Json): value is string => typeof value === 'string'

/** An empty `alias` is one that was removed. */
function aliasesIn(content: JsonObject): Json[] {
  const alias = own(content, 'alias') ?? ''
  const others = own(content, 'alt_aliases') ?? []
  return [...(alias === '' ? [] : [alias]), ...(Array.isArray(others) ? (others as Json[]) : [others])]
}
