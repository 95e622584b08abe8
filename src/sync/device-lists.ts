/**
 * Whose devices a client has to look at again: users who share a room with it and changed them, users who share a room
 * since, and users who no longer do. https://spec.matrix.org/v1.19/client-server-api/#tracking-the-device-list-for-a-user
 *
 * A user too many costs a client a query, a user too few makes messages that cannot be read: in doubt they are named.
 */
import type { Position } from '../protocol/numbers.js'
import { joinedBetween, membersOf } from '../store/memberships.js'
import { deviceListChanges, joinedToAny } from '../store/user-rooms.js'
import { meet, type JoinedRooms } from './joined-rooms.js'
import type { Plan, RoomTask } from './plan.js'
import type { Reading } from './reading.js'
import type { MemberChange } from './room-state.js'

export interface DeviceListDelta {
  readonly changed: readonly string[]
  readonly left: readonly string[]
}

/** Users are looked up one by one, in memory, up to this many, and with one statement beyond. */
const FEW = 50

export async function readDeviceLists(
  reading: Reading,
  joined: JoinedRooms,
  plan: Plan,
  memberChanges: readonly MemberChange[],
): Promise<DeviceListDelta> {
  if (plan.since === undefined || isQuiet(plan, memberChanges)) return nobody
  const changed = new Set(await sharing(reading, joined, await changedUsers(reading, plan)))
  for (const { userId, after } of memberChanges) if (after === 'join') changed.add(userId)
  for (const user of await membersNow(reading, plan.rooms.filter(isNewlyJoined))) changed.add(user)
  const candidates = new Set(await membersThen(reading, plan.since, plan.rooms.filter(isNewlyLeft)))
  for (const { userId, before, after } of memberChanges)
    if (before === 'join' && after !== 'join') candidates.add(userId)
  candidates.delete(reading.requester.userId)
  if (candidates.size === 0) return { changed: [...changed], left: [] }
  const still = new Set(await sharing(reading, joined, [...candidates]))
  const left = [...candidates].filter((user) => !still.has(user))
  return { changed: [...changed].filter((user) => !left.includes(user)), left }
}

const nobody: DeviceListDelta = { changed: [], left: [] }

/** As nearly always: nobody came or went, and nobody's devices changed. */
const isQuiet = (plan: Plan, memberChanges: readonly MemberChange[]): boolean =>
  plan.inMemory &&
  plan.deviceLists.length === 0 &&
  memberChanges.length === 0 &&
  !plan.rooms.some((task) => isNewlyJoined(task) || isNewlyLeft(task))

const isNewlyJoined = ({ section, isNew }: RoomTask): boolean => section === 'join' && isNew
const isNewlyLeft = ({ section, onlyEnding }: RoomTask): boolean => section === 'leave' && !onlyEnding

async function changedUsers({ stores }: Reading, plan: Plan): Promise<string[]> {
  if (!plan.inMemory) return deviceListChanges(stores.db, plan.since!, plan.now)
  const users = plan.deviceLists.flatMap((fact) => (fact.kind === 'device-list' ? [fact.user] : []))
  return [...new Set(users)]
}

/** Those of the users who share a room with the requester; the requester among them. */
async function sharing({ stores, view, requester }: Reading, joined: JoinedRooms, users: readonly string[]) {
  if (users.length === 0) return []
  if (users.length > FEW) {
    const found = await joinedToAny(stores.db, users, [...view.joined])
    return users.filter((user) => user === requester.userId || found.has(user))
  }
  const shares = await Promise.all(
    users.map(async (user) => user === requester.userId || meet(await joined.of(user), view.joined)),
  )
  return users.filter((_user, i) => shares[i])
}

async function membersNow({ stores }: Reading, tasks: readonly RoomTask[]): Promise<string[]> {
  const members = await Promise.all(tasks.map(({ room }) => membersOf(stores.db, room, 'join')))
  return members.flat().map(({ user }) => user)
}

/** Of rooms that were left, who was there before, and may have left, too: who came after it is nobody's business any more. */
async function membersThen({ stores }: Reading, since: Position, tasks: readonly RoomTask[]): Promise<string[]> {
  const members = await Promise.all(tasks.map(({ room, upTo }) => joinedBetween(stores.db, room, since, upTo)))
  return members.flat()
}
