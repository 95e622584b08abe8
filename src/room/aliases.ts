/** Aliases of rooms of this server: who may make and delete them. https://spec.matrix.org/v1.19/client-server-api/#room-aliases */
import { serverNameOf } from '../protocol/identifiers.js'
import { own, type JsonObject } from '../protocol/json.js'
import { forbidden, invalidParam, MatrixError, notFound } from '../protocol/matrix-error.js'
import { alias, deleteAlias, insertAlias } from '../store/aliases.js'
import { serversIn } from '../store/memberships.js'
import type { Requester } from '../accounts/requester.js'
import { mayChangeDirectory } from './directory.js'
import type { KnownRoom } from './known-room.js'
import { requireJoined, type Rooms } from './rooms.js'

export interface ResolvedAlias {
  readonly roomId: string
  /** Through which the room may be joined, the likeliest first. Never empty. */
  readonly servers: readonly string[]
}

const MAX_SERVERS = 100

/** An alias of this server. @throws MatrixError 404 */
export async function resolveOwnAlias({ deps }: Rooms, name: string): Promise<ResolvedAlias> {
  const found = await alias(deps.stores.db, name)
  if (found === undefined) throw notFound(`There is no alias ${name}`)
  const servers = await serversIn(deps.stores.db, found.room, MAX_SERVERS)
  const isHere = servers.length === 0 || servers.includes(deps.server.name)
  const others = servers.filter((server) => server !== deps.server.name)
  return { roomId: found.roomId, servers: isHere ? [deps.server.name, ...others] : others }
}

/** Members may name their rooms. @throws MatrixError 409 when the alias is taken. */
export async function addAlias(rooms: Rooms, name: KnownRoom, userId: string, wanted: string): Promise<void> {
  const { server, stores, now } = rooms.deps
  if (serverNameOf(wanted) !== server.name) throw invalidParam(`Aliases of this server end in :${server.name}`)
  if (/\s/.test(wanted)) throw invalidParam('An alias has no spaces')
  requireJoined(await rooms.membership(name, userId))
  const inserted = await insertAlias(stores.db, { alias: wanted, room: name.room, creator: userId }, now())
  if (inserted === 'exists') throw new MatrixError(409, 'M_UNKNOWN', `The alias ${wanted} is taken`)
}

/** For whoever made it, whoever may set the room's canonical alias, and administrators. */
export async function removeAlias(rooms: Rooms, requester: Requester, unwanted: string): Promise<void> {
  const { stores } = rooms.deps
  const found = await alias(stores.db, unwanted)
  if (found === undefined) throw notFound(`There is no alias ${unwanted}`)
  const name = await rooms.named(found.roomId)
  const isTheirs = found.creator === requester.userId || requester.isAdmin
  if (!isTheirs && !(await mayChangeDirectory(rooms, name, requester.userId))) {
    throw forbidden('You may not delete this alias')
  }
  await deleteAlias(stores.db, unwanted, name.room)
  await leaveOut(rooms, name, requester.userId, unwanted)
}

/** Takes a deleted alias out of the room's canonical alias event, where the user may do so. */
async function leaveOut(rooms: Rooms, name: KnownRoom, userId: string, gone: string): Promise<void> {
  const current = await rooms.currentState(name, 'm.room.canonical_alias', '')
  const content = current && withoutAlias(current.event.content, gone)
  if (content === undefined || !(await mayChangeDirectory(rooms, name, userId))) return
  try {
    await rooms.send(name, { type: 'm.room.canonical_alias', stateKey: '', sender: userId, content })
  } catch (cause) {
    // The alias is gone whatever the rules say to this, as the specification wants it.
    if (!(cause instanceof MatrixError)) throw cause
  }
}

/** undefined when it was not in there. */
function withoutAlias(content: JsonObject, gone: string): JsonObject | undefined {
  const { alias: main, alt_aliases: others, ...rest } = content
  const kept = Array.isArray(others) ? others.filter((other) => other !== gone) : others
  if (main !== gone && (!Array.isArray(others) || kept === others || others.length === (kept as unknown[]).length)) {
    return undefined
  }
  return {
    ...rest,
    ...(main !== undefined && main !== gone && { alias: own(content, 'alias') }),
    ...(kept !== undefined && { alt_aliases: kept }),
  }
}
