import { Type } from 'typebox'
import { jsonObject, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { notFound } from '../../protocol/matrix-error.js'
import { checkCanonicalAlias } from '../../room/canonical-alias.js'
import { userReader } from '../../room/gate.js'
import { roomOrForbidden } from '../../room/known-room.js'
import { setMember } from '../../room/membership-changes.js'
import { serialise } from '../../room/serialise.js'
import { stateEvents, stateEventsAt } from '../../store/state-events.js'
import { requireCanonical } from './canonical-content.js'
import { endpoint } from '../endpoint.js'

/**
 * /_matrix/client/v3/rooms/{roomId}/state and /state/{eventType}/{stateKey}
 * https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
 *
 * Who is in the room reads its state now, who was in it reads that at their leaving. An empty state key may be left out,
 * the slash before it too.
 */
const params = Type.Object({ roomId, eventType: Type.String(), stateKey: Type.String() })
const path = '/_matrix/client/v3/rooms/:roomId/state/:eventType/:stateKey'
const aliases = [
  '/_matrix/client/v3/rooms/:roomId/state/:eventType',
  '/_matrix/client/v3/rooms/:roomId/state/:eventType/',
  '/_matrix/client/v3/rooms/:roomId/state/:eventType/:stateKey/',
]

export const getRoomState = endpoint({
  operationId: 'getRoomState',
  method: 'get',
  path: '/_matrix/client/v3/rooms/:roomId/state',
  aliases: ['/_matrix/client/v3/rooms/:roomId/state/'],
  auth: 'access-token',
  params: Type.Object({ roomId }),

  async handle(services, { requester, params }) {
    const { rooms, gate, stores } = services
    const name = await roomOrForbidden(rooms, params.roomId)
    await rooms.requireWhole(name)
    const state = await gate.state(name, userReader(requester))
    const events = gate.inReadableState(await stateEvents(stores, name.room, state))
    const texts = await serialise(services, name, requester, events, { withRoomId: true, asState: true })
    return new Reply(200, `[${texts.join(',')}]`)
  },
})

export const getRoomStateWithKey = endpoint({
  operationId: 'getRoomStateWithKey',
  method: 'get',
  path,
  aliases,
  auth: 'access-token',
  params,
  query: Type.Object({ format: Type.Optional(Type.Union([Type.Literal('content'), Type.Literal('event')])) }),

  async handle(services, { requester, params, query }) {
    const { rooms, gate, stores } = services
    const name = await roomOrForbidden(rooms, params.roomId)
    // Anybody may be among the members that are still to come.
    if (params.eventType === 'm.room.member') await rooms.membership(name, params.stateKey)
    const state = await gate.state(name, userReader(requester))
    const found = await stateEventsAt(stores, name.room, state, [[params.eventType, params.stateKey]])
    const [event] = gate.inReadableState(found)
    if (event === undefined) throw notFound('The room has no such state event')
    if (query.format !== 'event') return event.event.content
    const [text] = await serialise(services, name, requester, [event], { withRoomId: true, asState: true })
    return new Reply(200, text!)
  },
})

export const setRoomStateWithKey = endpoint({
  operationId: 'setRoomStateWithKey',
  method: 'put',
  path,
  aliases,
  auth: 'access-token',
  rateLimit: 'message',
  params,
  body: jsonObject,

  async handle(services, { requester, params, body, nonCanonicalNumber }) {
    const { rooms } = services
    const { eventType: type, stateKey } = params
    const name = await roomOrForbidden(rooms, params.roomId)
    requireCanonical(name, nonCanonicalNumber)
    if (type === 'm.room.member') {
      const event = await setMember(services, name, requester.userId, stateKey, body)
      return { event_id: event.event.eventId }
    }
    if (type === 'm.room.canonical_alias' && stateKey === '') await checkCanonicalAlias(services, name, body)
    const event = await rooms.send(name, { type, stateKey, sender: requester.userId, content: body })
    return { event_id: event.event.eventId }
  },
})
