import { Type } from 'typebox'
import { eventId, roomId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { MAX_DEPTH } from '../../protocol/pdu.js'
import { roomOfServer } from '../../room/for-servers.js'
import { walkBack } from '../../store/history-walk.js'
import { endpoint } from '../endpoint.js'

/** Of 64 KiB each at most. Who misses more asks for the state. */
const MOST_EVENTS = 50
/** A room may have thousands of extremities: whoever names more gets what it has already. */
const MOST_NAMED = 200

/**
 * POST /_matrix/federation/v1/get_missing_events/{roomId}
 * https://spec.matrix.org/v1.19/server-server-api/#post_matrixfederationv1get_missing_eventsroomid
 *
 * The oldest first, which is the order in which they can be taken in.
 */
export const getMissingPreviousEvents = endpoint({
  operationId: 'getMissingPreviousEvents',
  method: 'post',
  path: '/_matrix/federation/v1/get_missing_events/:roomId',
  auth: 'signed-request',
  params: Type.Object({ roomId }),
  body: Type.Object({
    earliest_events: Type.Array(eventId),
    latest_events: Type.Array(eventId),
    limit: Type.Optional(Type.Integer()),
    min_depth: Type.Optional(Type.Integer()),
  }),

  async handle(services, { requester: { serverName }, params, body }) {
    const { earliest_events: earliest, latest_events: latest, limit = 10, min_depth: minDepth = 0 } = body
    const name = await roomOfServer(services, serverName, params.roomId)
    const events = await walkBack(services.stores, name.room, {
      from: latest.slice(0, MOST_NAMED),
      fromIncluded: false,
      until: earliest.slice(0, MOST_NAMED),
      minDepth: Math.max(0, Math.min(minDepth, MAX_DEPTH)),
      limit: Math.min(limit, MOST_EVENTS),
    })
    const texts = await services.gate.pdus(name, serverName, events.reverse())
    return new Reply(200, `{"events":[${texts.join(',')}]}`)
  },
})
