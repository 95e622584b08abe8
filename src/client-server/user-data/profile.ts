import { Type } from 'typebox'
import { ownProfile } from '../../accounts/own-profile.js'
import { jsonObject, userId } from '../../http/fields.js'
import { own, type Json, type JsonObject } from '../../protocol/json.js'
import { badJson, invalidParam, MatrixError, missingParam, notFound } from '../../protocol/matrix-error.js'
import { serverNameOf } from '../../protocol/identifiers.js'
import { setProfileField as setField } from '../../store/profiles.js'
import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'
import { requireOwn } from './own-user.js'

/**
 * /_matrix/client/v3/profile/{userId}, /profile/{userId}/{keyName}
 * https://spec.matrix.org/v1.19/client-server-api/#profiles
 *
 * Profiles can be read by anybody, as rooms show them anyway. Those of other servers' users are asked of them.
 * The rooms a user is in are told of a new name or avatar before the answer, or after it where they are many
 * (src/room/profile-changes.ts).
 */

const keyName = Type.String()

export const getUserProfile = endpoint({
  operationId: 'getUserProfile',
  method: 'get',
  path: '/_matrix/client/v3/profile/:userId',
  auth: 'none',
  rateLimit: 'remote-query',
  params: Type.Object({ userId }),

  handle: ({ config, db, remoteQueries }, { params, signal }) =>
    serverNameOf(params.userId) === config.serverName
      ? ownProfile(db, params.userId)
      : remoteQueries.profile(params.userId, undefined, signal),
})

export const getProfileField = endpoint({
  operationId: 'getProfileField',
  method: 'get',
  path: '/_matrix/client/v3/profile/:userId/:keyName',
  auth: 'none',
  rateLimit: 'remote-query',
  params: Type.Object({ userId, keyName }),

  async handle({ config, db, remoteQueries }, { params, signal }) {
    const profile =
      serverNameOf(params.userId) === config.serverName
        ? await ownProfile(db, params.userId)
        : await remoteQueries.profile(params.userId, params.keyName, signal)
    const value = own(profile, params.keyName)
    if (value === undefined) throw notFound('The profile does not have this field')
    return { [params.keyName]: value }
  },
})

export const setProfileField = endpoint({
  operationId: 'setProfileField',
  method: 'put',
  path: '/_matrix/client/v3/profile/:userId/:keyName',
  auth: 'access-token',
  params: Type.Object({ userId, keyName }),
  body: jsonObject,
  rateLimit: 'profile',

  async handle(services, { requester, params, body }) {
    requireOwn(requester, params.userId)
    checkKey(params.keyName)
    await change(services, params.userId, params.keyName, valueIn(body, params.keyName))
    return {}
  },
})

export const deleteProfileField = endpoint({
  operationId: 'deleteProfileField',
  method: 'delete',
  path: '/_matrix/client/v3/profile/:userId/:keyName',
  auth: 'access-token',
  params: Type.Object({ userId, keyName }),
  rateLimit: 'profile',

  async handle(services, { requester, params }) {
    requireOwn(requester, params.userId)
    checkKey(params.keyName)
    await change(services, params.userId, params.keyName, undefined)
    return {}
  },
})

function checkKey(key: string): void {
  if (Buffer.byteLength(key) > 255) throw new MatrixError(400, 'M_KEY_TOO_LARGE', 'A profile key may have 255 bytes')
  if (!/^[a-z][a-z0-9._-]*$/.test(key)) throw invalidParam('A profile key is made of a-z, 0-9 and . _ -')
}

function valueIn(body: JsonObject, key: string): Json | undefined {
  const value = own(body, key)
  if (value === undefined) throw missingParam(`body.${key} is required`)
  if (key !== 'displayname' && key !== 'avatar_url') return value
  if (typeof value !== 'string' || value.includes('\0')) throw badJson(`body.${key} must be a string without U+0000`)
  if (value.length > maxLengths[key]) throw badJson(`body.${key} may have ${maxLengths[key]} characters`)
  // Clients that are older than DELETE take a name or an avatar away with an empty one.
  if (value === '') return undefined
  if (key === 'avatar_url' && !value.startsWith('mxc://')) throw badJson('body.avatar_url must be an mxc:// URI')
  return value
}

/** In UTF-16 units. They stand in every member event of their user. */
const maxLengths = { displayname: 256, avatar_url: 1000 }

async function change(
  { db, profileChanges }: Pick<Services, 'db' | 'profileChanges'>,
  userId: string,
  key: string,
  value: Json | undefined,
): Promise<void> {
  const result = await db.transaction().execute((trx) => setField(trx, userId, key, value))
  if (result === 'too large') {
    throw new MatrixError(400, 'M_PROFILE_TOO_LARGE', 'The whole profile must be smaller than 64 KiB')
  }
  if (result === 'to be told') await profileChanges.tell(userId)
}
