/** How a room that was replaced goes quiet. */
import { powerLevels } from '../protocol/authorization/index.js'
import { own, type Json, type JsonObject } from '../protocol/json.js'
import { aliasesOf } from '../store/aliases.js'
import type { KnownRoom } from './known-room.js'
import type { Rooms } from './rooms.js'

/**
 * "For example, setting events_default and invite to the greater of 50 and users_default + 1."
 * undefined when they are as high already.
 */
export async function quietLevels(rooms: Rooms, old: KnownRoom): Promise<JsonObject | undefined> {
  const { create } = await rooms.head(old)
  const event = await rooms.currentState(old, 'm.room.power_levels', '')
  if (create === undefined || event === undefined) return undefined
  const levels = powerLevels(old.rules, create.event, event.event)
  // An unreadable level is none.
  const quiet = Number.isNaN(levels.usersDefault) ? 50 : Math.max(50, levels.usersDefault + 1)
  const raised = {
    ...(levels.eventsDefault >= quiet ? {} : { events_default: quiet }),
    ...(levels.invite >= quiet ? {} : { invite: quiet }),
  }
  return Object.keys(raised).length === 0 ? undefined : { ...event.event.content, ...raised }
}

/** The content of the canonical alias, parted: the aliases that name this room here, which move, and the others. */
export async function canonicalAlias(
  rooms: Rooms,
  old: KnownRoom,
): Promise<{ readonly moving: JsonObject; readonly staying: JsonObject } | undefined> {
  const event = await rooms.currentState(old, 'm.room.canonical_alias', '')
  if (event === undefined) return undefined
  const local: ReadonlySet<Json> = new Set(await aliasesOf(rooms.deps.stores.db, old.room))
  const { content } = event.event
  const moving = aliasesWhich(content, (alias) => local.has(alias))
  if (Object.keys(moving).length === 0) return undefined
  return { moving, staying: aliasesWhich(content, (alias) => !local.has(alias)) }
}

function aliasesWhich(content: JsonObject, wanted: (alias: Json) => boolean): JsonObject {
  const main = own(content, 'alias')
  const others = own(content, 'alt_aliases')
  const kept = Array.isArray(others) ? others.filter(wanted) : []
  return {
    ...(main !== undefined && main !== null && wanted(main) && { alias: main }),
    ...(kept.length > 0 && { alt_aliases: kept }),
  }
}
