import { Type } from 'typebox'
import { Reply } from '../../http/reply.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/sync
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
 */
export const sync = endpoint({
  operationId: 'sync',
  method: 'get',
  path: '/_matrix/client/v3/sync',
  auth: 'access-token',
  query: Type.Object({
    filter: Type.Optional(Type.String({ maxLength: 65_536 })),
    since: Type.Optional(Type.String()),
    full_state: Type.Optional(Type.Boolean()),
    set_presence: Type.Optional(Type.Enum(['offline', 'online', 'unavailable'])),
    timeout: Type.Optional(Type.Integer()),
    use_state_after: Type.Optional(Type.Boolean()),
    // What clients of before the specification took it up still say.
    'org.matrix.msc4222.use_state_after': Type.Optional(Type.Boolean()),
  }),

  async handle({ sync }, { requester, query, signal, shuttingDown }) {
    const stateAfter = [
      ...(query.use_state_after === true ? (['state_after'] as const) : []),
      ...(query['org.matrix.msc4222.use_state_after'] === true ? (['org.matrix.msc4222.state_after'] as const) : []),
    ]
    const { filter, since, timeout, full_state: fullState, set_presence: setPresence } = query
    const request = { filter, since: since === '' ? undefined : since, timeout, fullState, stateAfter, setPresence }
    return new Reply(200, await sync.sync(requester, request, { signal, shuttingDown }))
  },
})
