import { Type } from 'typebox'
import { roomId, text, userId } from '../../http/fields.js'
import { OneAtATime } from '../../one-at-a-time.js'
import { isObject, own, type JsonObject } from '../../protocol/json.js'
import { invalidParam, tooLarge } from '../../protocol/matrix-error.js'
import type { RoomNumber } from '../../protocol/numbers.js'
import { parseJson } from '../../protocol/strict-json.js'
import { accountData } from '../../store/account-data.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'
import { roomNumber } from './account-data.js'
import { requireOwn } from './own-user.js'

/**
 * /_matrix/client/v3/user/{userId}/rooms/{roomId}/tags, and one of them
 * https://spec.matrix.org/v1.19/client-server-api/#room-tagging
 *
 * The tags of a room are its account data `m.tag`, which clients may also write whole.
 */

const tag = text(255)

export const getRoomTags = endpoint({
  operationId: 'getRoomTags',
  method: 'get',
  path: '/_matrix/client/v3/user/:userId/rooms/:roomId/tags',
  auth: 'access-token',
  params: Type.Object({ userId, roomId }),

  async handle(services, { requester, params }) {
    requireOwn(requester, params.userId)
    return { tags: tagsIn(await tagContent(services, requester.userId, await roomNumber(services, params.roomId))) }
  },
})

export const setRoomTag = endpoint({
  operationId: 'setRoomTag',
  method: 'put',
  path: '/_matrix/client/v3/user/:userId/rooms/:roomId/tags/:tag',
  auth: 'access-token',
  params: Type.Object({ userId, roomId, tag }),
  body: Type.Object({ order: Type.Optional(Type.Number()) }),
  rateLimit: 'profile',

  async handle(services, { requester, params, body }) {
    requireOwn(requester, params.userId)
    if (Buffer.byteLength(params.tag) > 255) throw invalidParam('A tag may have 255 bytes')
    const room = await roomNumber(services, params.roomId)
    await changeTags(services, requester.userId, room, (tags) => [...without(tags, params.tag), [params.tag, body]])
    return {}
  },
})

export const deleteRoomTag = endpoint({
  operationId: 'deleteRoomTag',
  method: 'delete',
  path: '/_matrix/client/v3/user/:userId/rooms/:roomId/tags/:tag',
  auth: 'access-token',
  params: Type.Object({ userId, roomId, tag }),
  rateLimit: 'profile',

  async handle(services, { requester, params }) {
    requireOwn(requester, params.userId)
    const room = await roomNumber(services, params.roomId)
    await changeTags(services, requester.userId, room, (tags) => without(tags, params.tag))
    return {}
  },
})

type Tags = [name: string, tag: unknown][]

const without = (tags: JsonObject, name: string): Tags => Object.entries(tags).filter(([other]) => other !== name)

const changes = new OneAtATime()

/** As many tags as fit; each sync of the room carries all of them. */
const MAX_TAGS_BYTES = 64 * 1024

async function changeTags(
  services: Pick<Services, 'db' | 'writer'>,
  userId: string,
  room: RoomNumber,
  change: (tags: JsonObject) => Tags,
): Promise<void> {
  await changes.run(`${room} ${userId}`, async () => {
    const before = await tagContent(services, userId, room)
    const content = JSON.stringify({ ...before, tags: Object.fromEntries(change(tagsIn(before))) })
    if (Buffer.byteLength(content) > MAX_TAGS_BYTES) throw tooLarge('The room has too many tags')
    await services.writer.write([{ kind: 'account-data', room, user: userId, type: 'm.tag', content }])
  })
}

async function tagContent({ db }: Pick<Services, 'db'>, userId: string, room: RoomNumber): Promise<JsonObject> {
  const content = await accountData(db, userId, room, 'm.tag')
  return content === undefined ? {} : (parseJson(content).value as JsonObject)
}

/** Clients may have written anything there. */
function tagsIn(content: JsonObject): JsonObject {
  const tags = own(content, 'tags')
  return isObject(tags) ? tags : {}
}
