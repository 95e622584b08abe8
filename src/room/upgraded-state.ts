/**
 * What goes from a room into the one that replaces it: the state the specification recommends, `m.room.policy` by which
 * its events are vouched for, the children of a space, and bans. Members do not: nobody can join for others.
 */
import { own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import type { StateReference } from '../protocol/numbers.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import { membersOf } from '../store/memberships.js'
import { stateEvents, stateEventsAt } from '../store/state-events.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { RoomRequest } from './create-room.js'
import type { Draft } from './draft.js'
import type { KnownRoom } from './known-room.js'
import { isPossible } from './possible-json.js'
import { canonicalAlias } from './quiet-room.js'
import type { Rooms } from './rooms.js'
import { upgradedLevels, type UpgradedLevels } from './upgraded-levels.js'

export interface Upgrade {
  readonly old: KnownRoom
  readonly to: RoomVersionRules
  /** Who upgrades the room. */
  readonly maker: string
  readonly additionalCreators: readonly string[]
}

export interface UpgradePlan {
  readonly request: RoomRequest
  /** To be sent after the room was made: there may be many, and the levels they end with may forbid them. */
  readonly more: readonly Draft[]
}

const types = [
  'm.room.server_acl',
  'm.room.encryption',
  'm.room.name',
  'm.room.avatar',
  'm.room.topic',
  'm.room.guest_access',
  'm.room.history_visibility',
  'm.room.join_rules',
  'm.room.policy',
]

export async function readUpgrade(rooms: Rooms, upgrade: Upgrade): Promise<UpgradePlan> {
  const { old, to, maker } = upgrade
  const { create, head, extremities } = await rooms.head(old)
  if (create === undefined) throw new Error(`room ${old.room} has no create event`)
  const { stores } = rooms.deps
  const keys = [...types, 'm.room.power_levels'].map((type) => [type, ''] as const)
  const state = new Map((await stateEventsAt(stores, old.room, head.state, keys)).map((one) => [one.event.type, one]))
  const bans = await bansOf(rooms, old)
  const levels = levelsOf(upgrade, create, state.get('m.room.power_levels'), bans)
  const aliases = await canonicalAlias(rooms, old)
  const draft = (type: string, stateKey: string, content: JsonObject): Draft => ({
    type,
    stateKey,
    sender: maker,
    content,
  })
  const children =
    ownString(create.event.content, 'type') === 'm.space' ? await childrenOf(rooms, upgrade, head.state) : []
  return {
    request: {
      room_version: to.version,
      creation_content: createContent(upgrade, create, extremities.at(-1)),
      initial_state: [
        ...(levels === undefined ? [] : [{ type: 'm.room.power_levels', content: levels.first }]),
        ...types.flatMap((type) => copied(to, type, state.get(type))),
        ...(aliases === undefined ? [] : [{ type: 'm.room.canonical_alias', content: aliases.moving }]),
      ],
    },
    more: [
      ...children.map(({ event }) => draft(event.type, event.stateKey ?? '', event.content)),
      ...bans
        .filter(({ event }) => !newCreators(upgrade).has(event.stateKey ?? ''))
        .map(({ event }) => draft(event.type, event.stateKey ?? '', banContent(event.content))),
      ...(levels === undefined || levels.last === levels.first ? [] : [draft('m.room.power_levels', '', levels.last)]),
    ],
  }
}

const newCreators = ({ to, maker, additionalCreators }: Upgrade): ReadonlySet<string> =>
  new Set([maker, ...(to.additionalCreators ? additionalCreators : [])])

/** A room that never had levels begins with those that every new room has. */
function levelsOf(
  upgrade: Upgrade,
  create: StoredEvent,
  levels: StoredEvent | undefined,
  bans: readonly StoredEvent[],
): UpgradedLevels | undefined {
  if (levels === undefined) return undefined
  return upgradedLevels({ rules: upgrade.old.rules, create: create.event, event: levels.event }, upgrade.to, {
    maker: upgrade.maker,
    creators: newCreators(upgrade),
    banned: bans.flatMap(({ event }) => event.stateKey ?? []),
  })
}

/**
 * "Creates a replacement room with a m.room.create event containing a predecessor field, the applicable room_version, and
 * a type field which is copied from the predecessor room."
 */
function createContent({ old, to, additionalCreators }: Upgrade, create: StoredEvent, last?: StoredEvent): JsonObject {
  const { content } = create.event
  const kept = ['type', 'm.federate'].flatMap((key): [string, Json][] => {
    const value = own(content, key)
    return value !== undefined && isPossible(to, value) ? [[key, value]] : []
  })
  return {
    ...Object.fromEntries(kept),
    ...(to.additionalCreators && additionalCreators.length > 0 && { additional_creators: [...additionalCreators] }),
    // "The event ID of the last known event in the old room, if known." The tombstone, which names this room, is later.
    predecessor: { room_id: old.roomId, ...(last !== undefined && { event_id: last.event.eventId }) },
  }
}

function copied(
  to: RoomVersionRules,
  type: string,
  event: StoredEvent | undefined,
): NonNullable<RoomRequest['initial_state']> {
  // Where a room says nothing of guests they may not come in; new rooms say that they may.
  if (type === 'm.room.guest_access' && event === undefined) return [{ type, content: { guest_access: 'forbidden' } }]
  if (event === undefined) return []
  const content = type === 'm.room.join_rules' ? joinRules(to, event.event.content) : event.event.content
  return isPossible(to, content) ? [{ type, content }] : []
}

/** A rule that the new version does not know would let nobody in, not even the invited. */
function joinRules(to: RoomVersionRules, content: JsonObject): JsonObject {
  const rule = ownString(content, 'join_rule')
  if (rule === 'knock_restricted' && !to.knockRestrictedJoins)
    return joinRules(to, { ...content, join_rule: 'restricted' })
  if (rule === 'restricted' && !to.restrictedJoins) return { join_rule: 'invite' }
  if (rule === 'knock' && !to.knocking) return { join_rule: 'invite' }
  return content
}

async function bansOf(rooms: Rooms, { room }: KnownRoom): Promise<StoredEvent[]> {
  const { db, events } = rooms.deps.stores
  const banned = (await membersOf(db, room, 'ban')).flatMap(({ event }) => event ?? [])
  return [...(await events.events(room, banned)).values()]
}

const banContent = (content: JsonObject): JsonObject => {
  const reason = ownString(content, 'reason')
  return { membership: 'ban', ...(reason !== undefined && { reason }) }
}

/** A child without `via` is one that was taken out. */
async function childrenOf(rooms: Rooms, { old, to }: Upgrade, state: StateReference): Promise<StoredEvent[]> {
  const events = await stateEvents(rooms.deps.stores, old.room, state, 'without members')
  return events.filter(
    ({ event: { type, content } }) =>
      type === 'm.space.child' && Array.isArray(own(content, 'via')) && isPossible(to, content),
  )
}
