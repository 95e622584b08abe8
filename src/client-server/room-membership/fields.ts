import { Type } from 'typebox'
import { roomAlias, roomId, serverName, text } from '../../http/fields.js'
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

/** Somebody who is invited by an address, and the identity server that may know them. */
export const addressFields = {
  id_server: serverName,
  id_access_token: Type.String({ pattern: '^[!-~]+$', maxLength: 4096 }),
  medium: text(64, 1),
  address: text(500, 1),
}
