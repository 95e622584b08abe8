import { Type } from 'typebox'
import { text } from '../../http/fields.js'
import { searchUsers } from '../../store/user-directory.js'
import { endpoint } from '../endpoint.js'

/**
 * POST /_matrix/client/v3/user_directory/search
 * https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3user_directorysearch
 *
 * Local users only.
 */
export const searchUserDirectory = endpoint({
  operationId: 'searchUserDirectory',
  method: 'post',
  path: '/_matrix/client/v3/user_directory/search',
  auth: 'access-token',
  body: Type.Object({ search_term: text(1024), limit: Type.Optional(Type.Integer({ minimum: 0 })) }),
  rateLimit: 'name-lookup',

  async handle({ db }, { requester, body }) {
    const limit = Math.min(body.limit ?? 10, 50)
    const found = await searchUsers(db, requester.userId, body.search_term, limit + 1)
    return {
      results: found.slice(0, limit).map(({ userId, displayName, avatarUrl }) => ({
        user_id: userId,
        display_name: displayName,
        avatar_url: avatarUrl,
      })),
      limited: found.length > limit,
    }
  },
})
