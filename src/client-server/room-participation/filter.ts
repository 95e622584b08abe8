import { Type } from 'typebox'
import { jsonObject, userId } from '../../http/fields.js'
import { Reply } from '../../http/reply.js'
import { FilterError, parseFilter } from '../../protocol/filter.js'
import { badJson, limitExceeded, notFound } from '../../protocol/matrix-error.js'
import { filterBody, putFilter } from '../../store/filters.js'
import { endpoint } from '../endpoint.js'
import { requireOwn } from '../user-data/own-user.js'

/**
 * /_matrix/client/v3/user/{userId}/filter
 * https://spec.matrix.org/v1.19/client-server-api/#filtering
 *
 * A filter is kept and given back as the client wrote it. The same text has the same id, since clients store theirs at
 * every start.
 */

export const defineFilter = endpoint({
  operationId: 'defineFilter',
  method: 'post',
  path: '/_matrix/client/v3/user/:userId/filter',
  auth: 'access-token',
  params: Type.Object({ userId }),
  body: jsonObject,
  bodyLimit: 65_536,

  async handle({ db }, { requester, params, body, bodyText }) {
    requireOwn(requester, params.userId)
    try {
      parseFilter(body)
    } catch (cause) {
      if (cause instanceof FilterError) throw badJson(cause.message)
      throw cause
    }
    const id = await putFilter(db, requester.userId, bodyText)
    if (id === 'too many') throw limitExceeded(24 * 3_600_000)
    return { filter_id: String(id) }
  },
})

export const getFilter = endpoint({
  operationId: 'getFilter',
  method: 'get',
  path: '/_matrix/client/v3/user/:userId/filter/:filterId',
  auth: 'access-token',
  params: Type.Object({ userId, filterId: Type.String() }),

  async handle({ db }, { requester, params }) {
    requireOwn(requester, params.userId)
    const id = /^\d{1,9}$/.test(params.filterId) ? Number(params.filterId) : undefined
    const body = id === undefined ? undefined : await filterBody(db, requester.userId, id)
    if (body === undefined) throw notFound('There is no filter with this id')
    return new Reply(200, body)
  },
})
