/**
 * The power levels of a room that replaces another one, in the form its version wants: what was a string or a fraction in
 * the old room is an integer, and what could not be read there is left out.
 */
import { creatorsOf, PowerLevels } from '../protocol/authorization/index.js'
import { readLevel } from '../protocol/authorization/power-levels.js'
import { isObject, own, type Json, type JsonObject } from '../protocol/json.js'
import type { RoomEvent } from '../protocol/room-event.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import { isPossible } from './possible-json.js'

export interface LevelsBefore {
  readonly rules: RoomVersionRules
  readonly create: RoomEvent
  readonly event: RoomEvent
}

export interface UpgradedLevels {
  /** What the new room begins with: its maker can send all that is copied. */
  readonly first: JsonObject
  /** What it ends with. The same object when the maker needed no more than they have. */
  readonly last: JsonObject
}

export function upgradedLevels(
  before: LevelsBefore,
  to: RoomVersionRules,
  { maker, creators, banned }: { maker: string; creators: ReadonlySet<string>; banned: readonly string[] },
): UpgradedLevels {
  const content = readable(before.rules, to, before.event.content)
  const users = usersAfter(before, to, content, creators)
  const events = eventsAfter(before.rules, to, levelsIn(content, 'events'))
  const last: JsonObject = { ...content, users, events }
  if (to.privilegedCreators) return { first: last, last }
  const levels = new PowerLevels(to, before.create, { ...before.event, content: last })
  const needed = Math.max(
    ...Object.values(events),
    levels.stateDefault,
    levels.ban,
    ...banned.map((user) => levels.levelOf(user) + 1),
  )
  if (levels.levelOf(maker) >= needed) return { first: last, last }
  return { first: { ...last, users: { ...users, [maker]: safe(needed) } }, last }
}

type Levels = Readonly<Record<string, number>>

function usersAfter(before: LevelsBefore, to: RoomVersionRules, content: JsonObject, creators: ReadonlySet<string>) {
  const users = levelsIn(content, 'users')
  // Since version 12 creators are above every level and may not be listed.
  if (to.privilegedCreators) return Object.fromEntries(Object.entries(users).filter(([user]) => !creators.has(user)))
  if (!before.rules.privilegedCreators) return users
  // Where creators are nothing special, those who were above all levels get the highest there is.
  const all = [content, users, levelsIn(content, 'events')].flatMap((levels) => Object.values(levels))
  const highest = Math.max(100, ...all.filter((level) => typeof level === 'number'))
  const before12 = [...creatorsOf(before.rules, before.create)].map((user) => [user, highest] as const)
  return { ...users, ...Object.fromEntries(before12) }
}

/** From version 12 on only creators should be able to upgrade the room. */
const eventsAfter = (from: RoomVersionRules, to: RoomVersionRules, events: Levels): Levels =>
  to.privilegedCreators && !from.privilegedCreators
    ? { ...events, 'm.room.tombstone': Math.max(150, events['m.room.tombstone'] ?? 0) }
    : events

const named = ['ban', 'kick', 'invite', 'redact', 'events_default', 'state_default', 'users_default']
const maps = ['users', 'events', 'notifications']

/** Other keys than those of the specification stay as they are, where the new version can hold them. */
function readable(rules: RoomVersionRules, to: RoomVersionRules, content: JsonObject): JsonObject {
  const entries = Object.entries(content).flatMap(([key, value]): [string, Json][] => {
    if (value === undefined) return []
    if (maps.includes(key)) return isObject(value) ? [[key, readableMap(rules, value)]] : []
    if (named.includes(key)) return readableLevel(rules, key, value)
    return isPossible(to, value) ? [[key, value]] : []
  })
  return Object.fromEntries(entries)
}

const readableMap = (rules: RoomVersionRules, levels: JsonObject): Levels =>
  Object.fromEntries(Object.entries(levels).flatMap(([key, level]) => readableLevel(rules, key, level)))

function readableLevel(rules: RoomVersionRules, key: string, value: Json | undefined): [string, number][] {
  const level = readLevel(rules, value)
  return Number.isNaN(level) ? [] : [[key, safe(level)]]
}

/** Canonical JSON holds no larger numbers. */
const safe = (level: number): number => Math.min(Math.max(level, Number.MIN_SAFE_INTEGER), Number.MAX_SAFE_INTEGER)

/** After `readable` they are levels. */
const levelsIn = (content: JsonObject, key: string): Levels => (own(content, key) ?? {}) as Levels
