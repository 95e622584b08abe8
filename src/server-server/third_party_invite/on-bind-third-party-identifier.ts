import { Type } from 'typebox'
import { jsonObject, roomId, text, userId } from '../../http/fields.js'
import { serverNameOf } from '../../protocol/identifiers.js'
import { invalidParam } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'

const address = { medium: text(64), address: text(500) }

const onBind = (method: 'put' | 'post', operationId = 'onBindThirdPartyIdentifier') =>
  endpoint({
    operationId,
    method,
    path: '/_matrix/federation/v1/3pid/onbind',
    auth: 'none',
    rateLimit: 'third-party-bind',
    body: Type.Object({
      ...address,
      mxid: userId,
      invites: Type.Array(
        Type.Object({ ...address, mxid: userId, room_id: roomId, sender: userId, signed: jsonObject }),
        { maxItems: 100 },
      ),
    }),
    bodyLimit: 256 * 1024,

    async handle({ boundInvites, config }, { body: { mxid, invites } }) {
      if (serverNameOf(mxid) !== config.serverName) throw invalidParam(`${mxid} is not a user of this server`)
      await boundInvites.take(
        mxid,
        invites.map(({ room_id, ...invite }) => ({ ...invite, roomId: room_id })),
      )
      return {}
    },
  })

/**
 * PUT /_matrix/federation/v1/3pid/onbind
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv13pidonbind
 *
 * Identity servers do not sign their requests: of the body counts what is signed in it.
 */
export const onBindThirdPartyIdentifier = onBind('put')

/** As identity servers do it, and as the specification draws it ("POST /3pid/onbind"). */
export const onBindThirdPartyIdentifierByPost = onBind('post', 'onBindThirdPartyIdentifierByPost')
