import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { invalidParam } from '../../protocol/matrix-error.js'
import { userReader } from '../../room/gate.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v1/rooms/{roomId}/hierarchy
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 *
 * A token says how many rooms were shown, and what cannot change between pages.
 */
export const getSpaceHierarchy = endpoint({
  operationId: 'getSpaceHierarchy',
  method: 'get',
  path: '/_matrix/client/v1/rooms/:roomId/hierarchy',
  auth: 'access-token',
  rateLimit: 'remote-query',
  params: Type.Object({ roomId }),
  query: Type.Object({
    suggested_only: Type.Optional(Type.Boolean()),
    limit: Type.Optional(Type.Integer({ minimum: 1 })),
    max_depth: Type.Optional(Type.Integer({ minimum: 0 })),
    from: Type.Optional(Type.String()),
  }),

  async handle({ spaces }, { requester, params, query, signal }) {
    const place = query.from === undefined ? firstPlace(query) : placeOf(query.from, query)
    const limit = Math.min(query.limit ?? MAX_LIMIT, MAX_LIMIT)
    const page = await spaces.page(params.roomId, userReader(requester), { ...place, limit }, signal)
    const shown = place.skip + page.rooms.length
    return { rooms: page.rooms, ...(!page.isLast && { next_batch: tokenOf({ ...place, skip: shown }) }) }
  },
})

const MAX_LIMIT = 50
const DEFAULT_DEPTH = 10
const MAX_DEPTH = 50

interface Place {
  readonly skip: number
  readonly maxDepth: number
  readonly suggestedOnly: boolean
}

interface Filters {
  readonly suggested_only?: boolean
  readonly max_depth?: number
}

const firstPlace = ({ max_depth = DEFAULT_DEPTH, suggested_only = false }: Filters): Place => ({
  skip: 0,
  maxDepth: Math.min(max_depth, MAX_DEPTH),
  suggestedOnly: suggested_only,
})

const tokenOf = ({ skip, maxDepth, suggestedOnly }: Place): string =>
  `${skip}_${maxDepth}${suggestedOnly ? '_suggested' : ''}`

function placeOf(token: string, { suggested_only, max_depth }: Filters): Place {
  const match = /^(\d{1,6})_(\d{1,2})(_suggested)?$/.exec(token)
  if (match === null) throw invalidParam('from is not a token of this server')
  const place = { skip: Number(match[1]), maxDepth: Number(match[2]), suggestedOnly: match[3] !== undefined }
  const isChanged =
    (suggested_only !== undefined && suggested_only !== place.suggestedOnly) ||
    (max_depth !== undefined && Math.min(max_depth, MAX_DEPTH) !== place.maxDepth)
  if (isChanged) throw invalidParam('suggested_only and max_depth cannot change from one page to the next')
  return place
}
