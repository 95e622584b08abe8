/**
 * Power levels as the rules read them, with the defaults of
 * https://spec.matrix.org/v1.19/client-server-api/#mroompower_levels.
 *
 * A level that cannot be read (v1–v9 accept a first `m.room.power_levels` event with anything outside `users`) is NaN.
 * Every comparison with NaN is false, and all rules here allow only when a comparison holds, written `level >= required`
 * and never as the absence of `level < required`. So who needs an unreadable level is refused, as by servers that fail on
 * parsing it, and what does not need it goes on.
 *
 * Levels are doubles: two levels of a v1–v5 room that differ only beyond 2^53 are one level here.
 */
import { ExactNumber, type Json, type JsonObject, isObject, own } from '../json.js'
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import { creatorOf, creatorsOf } from './create.js'

/** The levels in force in a room. Get it from `powerLevels`, which remembers. */
export class PowerLevels {
  readonly ban: number
  readonly kick: number
  readonly invite: number
  readonly redact: number
  readonly eventsDefault: number
  readonly stateDefault: number
  readonly usersDefault: number
  readonly #users: JsonObject | undefined
  readonly #events: JsonObject | undefined
  readonly #notifications: JsonObject | undefined
  /** v12+: those above all levels. */
  readonly #creators: ReadonlySet<string> | undefined

  constructor(
    readonly rules: RoomVersionRules,
    readonly create: RoomEvent,
    event: RoomEvent | undefined,
  ) {
    const content = event === undefined ? withoutPowerLevels(rules, create) : event.content
    this.ban = namedLevel(rules, content, 'ban', 50)
    this.kick = namedLevel(rules, content, 'kick', 50)
    this.invite = namedLevel(rules, content, 'invite', 0)
    this.redact = namedLevel(rules, content, 'redact', 50)
    this.eventsDefault = namedLevel(rules, content, 'events_default', 0)
    this.stateDefault = namedLevel(rules, content, 'state_default', 50)
    this.usersDefault = namedLevel(rules, content, 'users_default', 0)
    this.#users = levelMap(content, 'users')
    this.#events = levelMap(content, 'events')
    this.#notifications = levelMap(content, 'notifications')
    this.#creators = rules.privilegedCreators ? creatorsOf(rules, create) : undefined
  }

  /** The level of a user, in the room or not. Infinity for a creator since v12. */
  levelOf(userId: string): number {
    if (this.#creators?.has(userId)) return Infinity
    return this.#entry(this.#users, userId, this.usersDefault)
  }

  /** The level required to send an event of this type. Member events and redactions have rules beside it. */
  requiredFor(type: string, isState: boolean): number {
    return this.#entry(this.#events, type, isState ? this.stateDefault : this.eventsDefault)
  }

  /** The level required to notify in this way, `room` for `@room`. Read by push rules; not a matter of authorisation. */
  notifications(key: string): number {
    return this.#entry(this.#notifications, key, 50)
  }

  #entry(levels: JsonObject | undefined, key: string, otherwise: number): number {
    return levels === undefined ? NaN : namedLevel(this.rules, levels, key, otherwise)
  }
}

const remembered = new WeakMap<RoomEvent, PowerLevels>()

/**
 * The levels an `m.room.power_levels` event sets, or the defaults when a room has none. Remembered per event object, and
 * reading one costs nothing that grows with the number of users: callers ask again for each event they judge.
 */
export function powerLevels(rules: RoomVersionRules, create: RoomEvent, event: RoomEvent | undefined): PowerLevels {
  const key = event ?? create
  const known = remembered.get(key)
  if (known !== undefined && known.rules === rules && known.create === create) return known

  const levels = new PowerLevels(rules, create, event)
  remembered.set(key, levels)
  return levels
}

/** v1–v11: the creator has 100 and everybody else 0. Since v12 everybody has 0, and the creators are above it anyway. */
function withoutPowerLevels(rules: RoomVersionRules, create: RoomEvent): JsonObject {
  const creator = rules.privilegedCreators ? undefined : creatorOf(rules, create)
  return creator === undefined ? {} : { users: { [creator]: 100 } }
}

/** The level at a key; the default when the key is absent or, as other servers read the old versions, null. */
function namedLevel(rules: RoomVersionRules, object: JsonObject, key: string, otherwise: number): number {
  const value = own(object, key)
  return value === undefined || value === null ? otherwise : readLevel(rules, value)
}

const none: JsonObject = {}

/** The map of levels at a key, empty when absent, undefined when it is no object. */
function levelMap(content: JsonObject, key: string): JsonObject | undefined {
  const value = own(content, key)
  if (value === undefined) return none
  return isObject(value) ? value : undefined
}

/** One integer in base 10, signed or not, with zeroes before it and whitespace around it. */
const stringyLevel = /^\s*[+-]?[0-9]+\s*$/

/**
 * A level as the room version writes it, NaN when it is none. Integers everywhere; strings that hold an integer in v1–v9;
 * in v1–v5 floats, cut at the point. What overflows a double is no level.
 */
export function readLevel(rules: RoomVersionRules, value: Json | undefined): number {
  if (typeof value === 'number') return readNumber(rules, value)
  if (value instanceof ExactNumber) return readNumber(rules, value.value)
  if (typeof value !== 'string' || rules.integerPowerLevels || !stringyLevel.test(value)) return NaN
  return finite(Number(value))
}

function readNumber(rules: RoomVersionRules, value: number): number {
  if (Number.isInteger(value)) return value
  return rules.floatPowerLevels ? finite(Math.trunc(value)) : NaN
}

const finite = (level: number): number => (Number.isFinite(level) ? level : NaN)
