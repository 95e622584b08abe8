import { Type } from 'typebox'
import { roomId, text } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { eventMatches, type RoomEventFilter } from '../../protocol/filter.js'
import { userReader, type VisibleEvent } from '../../room/gate.js'
import type { KnownRoom } from '../../room/known-room.js'
import { afterEvent, beforeEvent, formatRoomToken } from '../../room/pagination-token.js'
import { serialise } from '../../room/serialise.js'
import { readPage, sendersOf } from '../../room/timeline-page.js'
import { stateEvents } from '../../store/state-events.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'
import { eventFilter } from './event-filter.js'

/**
 * GET /_matrix/client/v3/rooms/{roomId}/context/{eventId}
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidcontexteventid
 */
export const getEventContext = endpoint({
  operationId: 'getEventContext',
  method: 'get',
  path: '/_matrix/client/v3/rooms/:roomId/context/:eventId',
  auth: 'access-token',
  params: Type.Object({ roomId, eventId: text(255) }),
  query: Type.Object({
    limit: Type.Optional(Type.Integer({ minimum: 0 })),
    filter: Type.Optional(Type.String()),
  }),

  async handle(services, { requester, params, query }) {
    const name = await services.rooms.named(params.roomId)
    const filter = eventFilter(query.filter)
    const reader = userReader(requester)
    const event = await services.gate.event(name, reader, params.eventId)
    const limit = Math.min(query.limit ?? filter.limit ?? DEFAULT_LIMIT, MAX_LIMIT)
    const [earlier, later] = [beforeEvent(event), afterEvent(event)]
    const half = Math.floor(limit / 2)
    const page = (backwards: boolean, limit: number) =>
      limit === 0
        ? { events: [], end: undefined }
        : readPage(services, name, reader, { backwards, from: backwards ? earlier : later, limit, filter })
    const [before, after] = [await page(true, half), await page(false, limit - half)]

    const timeline = [event, ...before.events, ...after.events]
    const state = await stateAt(services, name, after.events.at(-1) ?? event, timeline, filter)
    const texts = async (events: readonly VisibleEvent[], asState = false) =>
      (await serialise(services, name, requester, events, { withRoomId: true, asState })).join(',')
    const [first, last] = [before.events.at(-1), after.events.at(-1)]
    const tokens = {
      start: formatRoomToken(before.end ?? (first === undefined ? earlier : beforeEvent(first))),
      end: formatRoomToken(after.end ?? (last === undefined ? later : afterEvent(last))),
    }
    return new Reply(
      200,
      `${JSON.stringify(tokens).slice(0, -1)},"event":${await texts([event])},` +
        `"events_before":[${await texts(before.events)}],"events_after":[${await texts(after.events)}],` +
        `"state":[${await texts(state, true)}]}`,
    )
  },
})

const DEFAULT_LIMIT = 10
const MAX_LIMIT = 100

/** After the last event returned. Lazily loaded, the only members in it are those who sent something of the timeline. */
async function stateAt(
  services: Services,
  name: KnownRoom,
  last: VisibleEvent,
  timeline: readonly VisibleEvent[],
  filter: RoomEventFilter,
): Promise<VisibleEvent[]> {
  const { stores, gate, rooms } = services
  const which = filter.lazyLoadMembers ? 'without members' : 'all'
  if (which === 'all') await rooms.requireWhole(name)
  const state = gate.inReadableState(await stateEvents(stores, name.room, last.stateAfter!, which))
  const members = filter.lazyLoadMembers ? await sendersOf(services, name, last.stateAfter!, timeline) : []
  return [...state, ...members].filter(({ event }) => eventMatches(filter, event))
}
