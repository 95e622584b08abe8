import { Type } from 'typebox'
import { roomAlias, roomId } from '../../http/fields.js'
import type { JsonObject } from '../../protocol/json.js'

export const reason = Type.Optional(Type.String())

/** The content of a member event that a request gives a reason for. */
export const reasonIn = (body: { readonly reason?: string | undefined }): JsonObject =>
  body.reason === undefined ? {} : { reason: body.reason }

export const roomIdOrAlias = Type.Union([roomId, roomAlias])

export const via = Type.Optional(Type.Array(Type.String()))

/** `server_name` is what `via` was called before v1.12. */
export const viaIn = (query: {
  readonly via?: readonly string[] | undefined
  readonly server_name?: readonly string[] | undefined
}): readonly string[] => query.via ?? query.server_name ?? []
