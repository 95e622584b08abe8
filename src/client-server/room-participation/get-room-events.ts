import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { MAX_LIMIT } from '../../protocol/filter.js'
import { userReader } from '../../room/gate.js'
import { roomOrForbidden } from '../../room/known-room.js'
import {
  afterPosition,
  formatRoomToken,
  isEarlier,
  parseRoomToken,
  positionBefore,
} from '../../room/pagination-token.js'
import { serialise } from '../../room/serialise.js'
import { readPage, sendersOf } from '../../room/timeline-page.js'
import { endpoint } from '../endpoint.js'
import { eventFilter } from './event-filter.js'

/**
 * GET /_matrix/client/v3/rooms/{roomId}/messages
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidmessages
 *
 * Without `from`, from the newest event backwards or from the oldest on. Who has left begins at their leaving: what came
 * after it they may not see, and in a large room it would be many empty pages.
 */
export const getRoomEvents = endpoint({
  operationId: 'getRoomEvents',
  method: 'get',
  path: '/_matrix/client/v3/rooms/:roomId/messages',
  auth: 'access-token',
  params: Type.Object({ roomId }),
  query: Type.Object({
    dir: Type.Union([Type.Literal('b'), Type.Literal('f')]),
    from: Type.Optional(Type.String()),
    to: Type.Optional(Type.String()),
    limit: Type.Optional(Type.Integer({ minimum: 0 })),
    filter: Type.Optional(Type.String()),
  }),

  async handle(services, { requester, params, query }) {
    const { rooms, gate, log, writer } = services
    const name = await roomOrForbidden(rooms, params.roomId)
    const filter = eventFilter(query.filter)
    const backwards = query.dir === 'b'
    const start = query.from === undefined ? undefined : parseRoomToken(query.from)
    const to = query.to === undefined ? undefined : parseRoomToken(query.to)
    if (start !== undefined) await writer.reach(positionBefore(start))
    const reader = userReader(requester)
    const until = await gate.readableUntil(name, reader)
    const newest = afterPosition(Math.min(until, log.published))
    const from = start ?? (backwards ? newest : beginning)
    const limit = Math.min(query.limit ?? DEFAULT_LIMIT, filter.limit ?? MAX_LIMIT, MAX_LIMIT)

    const request = { backwards, from: backwards && isEarlier(newest, from) ? newest : from, to, limit, filter }
    const { events, end } = await readPage(services, name, reader, request)
    const first = events[0]
    const members =
      filter.lazyLoadMembers && first !== undefined ? await sendersOf(services, name, first.stateAfter!, events) : []
    const chunk = await serialise(services, name, requester, events, { withRoomId: true })
    const state = await serialise(services, name, requester, members, { withRoomId: true, asState: true })
    const tokens = { start: query.from ?? formatRoomToken(from), ...(end && { end: formatRoomToken(end) }) }
    return new Reply(
      200,
      `${JSON.stringify(tokens).slice(0, -1)},"chunk":[${chunk.join(',')}],"state":[${state.join(',')}]}`,
    )
  },
})

const DEFAULT_LIMIT = 10
const beginning = afterPosition(0)
