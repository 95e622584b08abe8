import { Type } from 'typebox'
import { roomId } from '../../http/fields.js'
import { notFound } from '../../protocol/matrix-error.js'
import type { RoomPreview } from '../../room/room-chunk.js'
import { isSuggested } from '../../room/space-child.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/hierarchy/{roomId}
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1hierarchyroomid
 *
 * What the server's users could join or look into. Children that are not known here are left out: others are asked for them.
 */
export const getSpaceHierarchy = endpoint({
  operationId: 'getSpaceHierarchy',
  method: 'get',
  path: '/_matrix/federation/v1/hierarchy/:roomId',
  auth: 'signed-request',
  params: Type.Object({ roomId }),
  query: Type.Object({ suggested_only: Type.Optional(Type.Boolean()) }),

  async handle({ previews }, { requester, params, query }) {
    const reader = { kind: 'server', server: requester.serverName } as const
    const name = await previews.find(params.roomId)
    if (name === undefined || !(await previews.mayPreview(name, reader))) {
      throw notFound('There is no such room here, or your server could neither join nor look into it')
    }
    const space = await previews.space(name)
    const shown = query.suggested_only === true ? space.children_state.filter(isSuggested) : space.children_state
    const children: RoomPreview[] = []
    const inaccessible: string[] = []
    for (const { state_key } of shown.slice(0, MAX_CHILDREN)) {
      const child = await previews.find(state_key)
      if (child === undefined) continue
      if (await previews.mayPreview(child, reader)) children.push(await previews.preview(child))
      else inaccessible.push(state_key)
    }
    return { room: { ...space, children_state: shown }, children, inaccessible_children: inaccessible }
  },
})

/** Those that are told of at once; who asks may ask for each of the others. */
const MAX_CHILDREN = 100
