/**
 * "When a user joins the new room, the server should automatically transfer/replicate some of the user's personalized
 * settings such as notifications, tags, etc." https://spec.matrix.org/v1.19/client-server-api/#server-behaviour-15
 *
 * Anybody can claim that their room replaces another; it does when the tombstone of the other says so.
 */
import { isRoomId } from '../protocol/identifiers.js'
import { isObject, own, ownString } from '../protocol/json.js'
import { accountData } from '../store/account-data.js'
import type { RoomName } from '../store/room-names.js'
import type { Rooms } from './rooms.js'

/** Tags of the room that this one replaces, unless it has tags already. Idempotent. */
export async function carryOver({ rooms }: { readonly rooms: Rooms }, name: RoomName, user: string): Promise<void> {
  const { stores, writer } = rooms.deps
  const old = await replacedBy(rooms, name)
  if (old === undefined) return
  const content = await accountData(stores.db, user, old.room, 'm.tag')
  if (content === undefined || (await accountData(stores.db, user, name.room, 'm.tag')) !== undefined) return
  await writer.write([{ kind: 'account-data', room: name.room, user, type: 'm.tag', content }])
}

async function replacedBy(rooms: Rooms, name: RoomName): Promise<RoomName | undefined> {
  const { create } = await rooms.head(name)
  const predecessor = create && own(create.event.content, 'predecessor')
  const roomId = isObject(predecessor) ? (ownString(predecessor, 'room_id') ?? '') : ''
  const old = isRoomId(roomId) ? await rooms.deps.stores.names.find(roomId) : undefined
  if (old?.rules === undefined) return undefined
  const tombstone = await rooms.currentState(old, 'm.room.tombstone', '')
  const replacement = tombstone && ownString(tombstone.event.content, 'replacement_room')
  return replacement === name.roomId ? old : undefined
}
