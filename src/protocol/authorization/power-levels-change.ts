/**
 * Authorisation of `m.room.power_levels`: nobody gives away, takes away or changes what is above them.
 * https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
 */
import { isUserId } from '../identifiers.js'
import { type Json, type JsonObject, isObject, own } from '../json.js'
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import { type Verdict, allow, reject } from '../verdict.js'
import { creatorsOf } from './create.js'
import { readLevel } from './power-levels.js'

const levelNames = ['users_default', 'events_default', 'state_default', 'ban', 'redact', 'kick', 'invite'] as const

export interface PowerLevelsBefore {
  readonly create: RoomEvent
  /** The `m.room.power_levels` event in force, if any. */
  readonly current: RoomEvent | undefined
  /** The sender's level by it. */
  readonly senderLevel: number
}

/** The sender is known to be joined and above the level required for the type. */
export function checkPowerLevels(
  rules: RoomVersionRules,
  { content, sender }: RoomEvent,
  { create, current, senderLevel }: PowerLevelsBefore,
): Verdict {
  const wellFormed = checkShape(rules, content, create)
  if (!wellFormed.allowed) return wellFormed

  // If there is no previous m.room.power_levels event in the room, allow.
  if (current === undefined) return allow

  return checkChanges({ rules, before: current.content, after: content, sender, senderLevel })
}

function checkShape(rules: RoomVersionRules, content: JsonObject, create: RoomEvent): Verdict {
  // Since v10: if any of the properties users_default, events_default, state_default, ban, redact, kick, or invite in
  // content are present and not an integer, reject.
  const badName = levelNames.find((name) => isPresent(content, name) && !isLevel(rules, own(content, name)))
  if (rules.integerPowerLevels && badName !== undefined) return reject(`power levels: ${badName} is not an integer`)

  // Since v10: if either of the properties events or notifications in content are present and not an object with values
  // that are integers, reject.
  const badMap = ['events', 'notifications'].find((name) => !isAbsentOrLevels(rules, own(content, name)))
  if (rules.integerPowerLevels && badMap !== undefined) return reject(`power levels: ${badMap} does not hold integers`)

  // If the users property in content is not an object with keys that are valid user IDs with values that are integers
  // (v1–v9: or a string that is an integer), reject.
  const users = own(content, 'users')
  if (!isAbsentOrLevels(rules, users)) return reject('power levels: users does not hold integers')
  const userIds = isObject(users) ? keysOf(users) : []
  if (!userIds.every(isUserId)) return reject('power levels: a key of users is not a user ID')

  // Since v12: if the users property in content contains the sender of the m.room.create event or any of the
  // additional_creators array (if present) from the content of the m.room.create event, reject.
  if (rules.privilegedCreators && userIds.length > 0) {
    const creators = creatorsOf(rules, create)
    if (userIds.some((userId) => creators.has(userId))) return reject('power levels: users holds a creator')
  }
  return allow
}

interface Change {
  readonly rules: RoomVersionRules
  readonly before: JsonObject
  readonly after: JsonObject
  readonly sender: string
  readonly senderLevel: number
}

function checkChanges(change: Change): Verdict {
  const problem =
    problemOfNamedLevels(change) ??
    problemOfEntries(change, 'events') ??
    (change.rules.notificationLevelsChecked ? problemOfEntries(change, 'notifications') : undefined) ??
    problemOfUsers(change)

  // Otherwise, allow.
  return problem === undefined ? allow : reject(`power levels: ${problem}`)
}

function problemOfNamedLevels({ rules, before, after, senderLevel }: Change): string | undefined {
  // For the properties users_default, events_default, state_default, ban, redact, kick, invite check if they were added,
  // changed or removed. For each found alteration: if the current value is greater than the sender's current power level,
  // reject. If the new value is greater than the sender's current power level, reject.
  // An absent property has no value to compare, not that of its default: the rooms of today were judged so.
  const [current, next] = [namedLevels(before), namedLevels(after)]
  const notAbove = (level: number) => level <= senderLevel
  const name = refused(rules, current, next, notAbove) ?? refused(rules, next, current, notAbove)
  return name === undefined ? undefined : `${name} is above the sender`
}

function problemOfEntries(
  { rules, before, after, senderLevel }: Change,
  property: 'events' | 'notifications',
): string | undefined {
  const [current, next] = [entries(before, property), entries(after, property)]
  if (current === undefined || next === undefined) return `${property} is not an object`
  const notAbove = (level: number) => level <= senderLevel

  // For each entry being changed in, or removed from, the events (since v6: or notifications) properties: if the current
  // value is greater than the sender's current power level, reject.
  const lost = refused(rules, current, next, notAbove)
  if (lost !== undefined) return `the current level of ${lost} in ${property} is above the sender`

  // For each entry being added to, or changed in, the events (since v6: or notifications) properties: if the new value is
  // greater than the sender's current power level, reject.
  const won = refused(rules, next, current, notAbove)
  return won === undefined ? undefined : `the new level of ${won} in ${property} is above the sender`
}

function problemOfUsers({ rules, before, after, sender, senderLevel }: Change): string | undefined {
  const [current, next] = [entries(before, 'users'), entries(after, 'users')]
  if (current === undefined || next === undefined) return 'users is not an object'

  // For each entry being changed in, or removed from, the users property, other than the sender's own entry: if the current
  // value is greater than or equal to the sender's current power level, reject.
  const lost = refused(rules, current, next, (level, user) => user === sender || level < senderLevel)
  if (lost !== undefined) return `${lost} is not below the sender`

  // For each entry being added to, or changed in, the users property: if the new value is greater than the sender's current
  // power level, reject.
  const won = refused(rules, next, current, (level) => level <= senderLevel)
  return won === undefined ? undefined : `the new level of ${won} is above the sender`
}

/**
 * The first key of `from` that `to` lacks or holds at another level, and that may not be touched. With the old entries as
 * `from` these are the changed and removed ones; with the new entries as `from`, the changed and added ones.
 */
function refused(
  rules: RoomVersionRules,
  from: JsonObject,
  to: JsonObject,
  mayTouch: (level: number, key: string) => boolean,
): string | undefined {
  return keysOf(from).find((key) => {
    const level = readLevel(rules, own(from, key))
    const unchanged = isPresent(to, key) && readLevel(rules, own(to, key)) === level
    return !unchanged && !mayTouch(level, key)
  })
}

const namedLevels = (content: JsonObject): JsonObject =>
  Object.fromEntries(levelNames.filter((name) => isPresent(content, name)).map((name) => [name, own(content, name)]))

const entries = (content: JsonObject, property: string): JsonObject | undefined => {
  const value = own(content, property)
  if (value === undefined) return {}
  return isObject(value) ? value : undefined
}

/** An event of ours, not yet written as JSON, may hold keys that are undefined: they will not be there. */
const keysOf = (object: JsonObject): readonly string[] => Object.keys(object).filter((key) => isPresent(object, key))

const isPresent = (object: JsonObject, key: string): boolean => own(object, key) !== undefined

const isLevel = (rules: RoomVersionRules, value: Json | undefined): boolean => !Number.isNaN(readLevel(rules, value))

const isAbsentOrLevels = (rules: RoomVersionRules, value: Json | undefined): boolean =>
  value === undefined || (isObject(value) && keysOf(value).every((key) => isLevel(rules, own(value, key))))
