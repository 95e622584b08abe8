/**
 * Replacing a room by one of another version. https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
 *
 * The tombstone is the moment at which the room is upgraded: before it is written, the replacement is a private room with
 * nobody in it but its maker, complete, named by no alias and by no list. In the transaction of the tombstone the old room
 * goes quiet and the aliases and the place in the directory go to the replacement (src/store/log-statements.ts). So there
 * is no moment at which a room points to one that is not there, or is not finished; a process that dies before the
 * tombstone leaves its user an empty room to leave, and nothing else.
 *
 * Who asks again for what was done, because the answer was lost, is answered the room that was made then.
 */
import { powerLevels } from '../protocol/authorization/index.js'
import { OneAtATime } from '../one-at-a-time.js'
import { isObject, own, ownString, type JsonObject } from '../protocol/json.js'
import { forbidden, unsupportedRoomVersion } from '../protocol/matrix-error.js'
import { rulesOf, type RoomVersionRules } from '../protocol/room-versions.js'
import { forget } from '../store/memberships.js'
import type { StoredEvent } from '../store/stored-event.js'
import { createRoom, type CreateRoomDeps } from './create-room.js'
import type { Draft } from './draft.js'
import { carryOver } from './carry-over.js'
import type { KnownRoom } from './known-room.js'
import { leave } from './membership-changes.js'
import { canonicalAlias, quietLevels } from './quiet-room.js'
import { requireJoined } from './rooms.js'
import { readUpgrade, type Upgrade } from './upgraded-state.js'

export interface UpgradeRequest {
  readonly new_version: string
  /** Left out of account where the new version knows none. */
  readonly additional_creators?: readonly string[]
}

/** One at a time for each room: the second finds the tombstone of the first. */
const upgrades = new OneAtATime()

/** Resolves with the id of the replacement. @throws MatrixError */
export async function upgradeRoom(
  deps: CreateRoomDeps,
  old: KnownRoom,
  userId: string,
  request: UpgradeRequest,
): Promise<string> {
  const to = rulesOf(request.new_version)
  if (to === undefined) throw unsupportedRoomVersion(`This server does not know room version ${request.new_version}`)
  await requireMayReplace(deps, old, userId)
  const tombstone = await tombstoneOf(deps, old)
  return upgrades.run(String(old.room), async () => {
    const now = await tombstoneOf(deps, old)
    const made = now && (await madeBefore(deps, old, now, userId, to))
    if (made !== undefined) return made
    requireSame(now, tombstone)
    return replace(deps, { old, to, maker: userId, additionalCreators: request.additional_creators ?? [] }, tombstone)
  })
}

/** "Checks that the user has permission to send m.room.tombstone events in the room." */
async function requireMayReplace({ rooms }: CreateRoomDeps, old: KnownRoom, userId: string): Promise<void> {
  requireJoined(await rooms.membership(old, userId))
  const { create } = await rooms.head(old)
  const event = await rooms.currentState(old, 'm.room.power_levels', '')
  const levels = create && powerLevels(old.rules, create.event, event?.event)
  if (levels === undefined || !(levels.levelOf(userId) >= levels.requiredFor('m.room.tombstone', true))) {
    throw forbidden('Your power level does not allow you to upgrade this room')
  }
}

const tombstoneOf = ({ rooms }: CreateRoomDeps, old: KnownRoom) => rooms.currentState(old, 'm.room.tombstone', '')

/** A room that was replaced long ago may be replaced again, but not by two at once. @throws MatrixError 403 */
function requireSame(now: StoredEvent | undefined, before: StoredEvent | undefined): void {
  if (now?.number !== before?.number) throw forbidden('The room was upgraded by somebody else meanwhile')
}

/** The replacement that this user made of the room, if they are still in it. */
async function madeBefore(
  deps: CreateRoomDeps,
  old: KnownRoom,
  tombstone: StoredEvent,
  userId: string,
  to: RoomVersionRules,
): Promise<string | undefined> {
  const { rooms } = deps
  if (tombstone.event.sender !== userId) return undefined
  const name = await rooms.deps.stores.names.find(ownString(tombstone.event.content, 'replacement_room') ?? '')
  if (name?.rules !== to || (await rooms.membership(name, userId)) !== 'join') return undefined
  const predecessor = own((await rooms.head(name)).create?.event.content ?? {}, 'predecessor')
  if (!isObject(predecessor) || ownString(predecessor, 'room_id') !== old.roomId) return undefined
  // What may have been left undone when the answer was.
  await carryOver(deps, name, userId)
  return name.roomId
}

async function replace(deps: CreateRoomDeps, upgrade: Upgrade, tombstone: StoredEvent | undefined): Promise<string> {
  const { old, maker } = upgrade
  const plan = await readUpgrade(deps.rooms, upgrade)
  const replacement = await deps.rooms.named(await createRoom(deps, maker, plan.request))
  try {
    for (let i = 0; i < plan.more.length; i += AT_A_TIME) {
      await deps.rooms.sendAll(replacement, plan.more.slice(i, i + AT_A_TIME))
    }
    await putDown(deps, old, maker, replacement, tombstone)
  } catch (cause) {
    await abandon(deps, replacement, maker)
    throw cause
  }
  await carryOver(deps, replacement, maker)
  return replacement.roomId
}

/** Each is an event to sign while nobody else is served. */
const AT_A_TIME = 50

/** The tombstone, and with it what makes the room quiet where the user has the power for that. */
async function putDown(
  { rooms }: CreateRoomDeps,
  old: KnownRoom,
  sender: string,
  replacement: KnownRoom,
  before: StoredEvent | undefined,
): Promise<void> {
  const state = (type: string, content: JsonObject): Draft => ({ type, stateKey: '', sender, content })
  const content = { body: 'This room has been replaced', replacement_room: replacement.roomId }
  const tombstone = { ...state('m.room.tombstone', content), replacement: replacement.room }
  const aliases = (await canonicalAlias(rooms, old))?.staying
  const levels = await quietLevels(rooms, old)
  const quiet = [
    ...(aliases === undefined ? [] : [state('m.room.canonical_alias', aliases)]),
    ...(levels === undefined ? [] : [state('m.room.power_levels', levels)]),
  ]
  const send = (drafts: readonly Draft[]) =>
    rooms.sendAll(old, drafts, (pending) => {
      const now = pending.stateEvent('m.room.tombstone', '')
      const isOurs = now !== undefined && ownString(now.event.content, 'replacement_room') === replacement.roomId
      if (!isOurs) requireSame(now, before)
    })
  try {
    await send([tombstone, ...quiet])
  } catch (cause) {
    if (quiet.length === 0) throw cause
    // "If possible, the power levels in the old room should also be modified". A tombstone that is there already, as it may
    // be where each event has to be signed by a policy server, is found and not sent again.
    await send([tombstone])
  }
}

/** The replacement that replaces nothing is out of its maker's sight. If that fails, too, they can leave it themselves. */
async function abandon(deps: CreateRoomDeps, replacement: KnownRoom, maker: string): Promise<void> {
  try {
    await leave(deps, replacement, maker, {})
    await forget(deps.db, replacement.room, maker)
  } catch {
    // The failure that brought us here is the one to tell.
  }
}
