import { Type } from 'typebox'
import { ownProfile } from '../../accounts/own-profile.js'
import { userId } from '../../http/fields.js'
import { own } from '../../protocol/json.js'
import { notFound } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/federation/v1/query/profile
 * https://spec.matrix.org/v1.19/server-server-api/#get_matrixfederationv1queryprofile
 *
 * Any server may ask, as any client may.
 */
export const queryProfile = endpoint({
  operationId: 'queryProfile',
  method: 'get',
  path: '/_matrix/federation/v1/query/profile',
  auth: 'signed-request',
  query: Type.Object({ user_id: userId, field: Type.Optional(Type.String()) }),

  async handle({ db }, { query: { user_id, field } }) {
    const profile = await ownProfile(db, user_id)
    if (field === undefined) return profile
    const value = own(profile, field)
    if (value === undefined) throw notFound('The profile does not have this field')
    return { [field]: value }
  },
})
