/** Users are invited by their e-mail address, with the help of the identity server that the inviter's client names. */
import { afterEach, describe, expect, it } from '@jest/globals'
import { eventually } from '../support/eventually.js'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'
import { identityToken } from '../support/identity-server.js'
import { environmentToAsk, startIdentityServer } from '../support/started-identity-server.js'

const identity = await startIdentityServer()
const environment = environmentToAsk(identity)
const homeserver = await startTestHomeserver({ environment })
const careful = await startTestHomeserver({ environment: { ...environment, OUTBOUND_ALLOW: '' } })
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const v3 = '/_matrix/client/v3'
afterEach(() => {
  identity.script = undefined
  identity.known.clear()
  identity.pepper = 'pepper'
})

const whom = (more: object = {}) => ({
  id_server: identity.name,
  id_access_token: identityToken,
  medium: 'email',
  address: 'Carol@Example.org',
  ...more,
})
const inviting = (user: TestUser, roomId: string, more: object = {}) =>
  user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/invite`, whom(more))
const asked = (path: string) => identity.https.asked.filter(({ url }) => url.startsWith(`/_matrix/identity/v2/${path}`))
const stateOf = async (roomId: string, type: string) =>
  (await alice.ok('GET', `${v3}/rooms/${encodeURIComponent(roomId)}/state`)).filter(
    (event: { type: string }) => event.type === type,
  )
const answering = (path: string, body: unknown, status = 200) => {
  identity.script = ({ url }) => (url.startsWith(`/_matrix/identity/v2/${path}`) ? { status, body } : undefined)
}
const invited = async (user: TestUser, roomId: string) => (await user.sync()).rooms?.invite?.[roomId]

describe('an invite by e-mail address', () => {
  it('invites whom the identity server knows, and keeps the address from the room', async () => {
    identity.known.set('carol@example.org', bob.userId)
    const roomId = await alice.createRoom({ preset: 'private_chat' })
    const before = asked('store-invite').length
    expect(await inviting(alice, roomId)).toMatchObject({ status: 200, body: {} })
    expect(await invited(bob, roomId)).toBeDefined()
    expect(await stateOf(roomId, 'm.room.third_party_invite')).toEqual([])
    expect(asked('store-invite')).toHaveLength(before)
    expect(asked('lookup').at(-1)!.body).not.toMatch(/carol/i)
  })

  it('is kept by the identity server for who is not known yet, and the room is told by which keys it will be known', async () => {
    await alice.ok('PUT', `${v3}/profile/${alice.userId}/displayname`, { displayname: 'Alice' })
    const roomId = await alice.createRoom({
      preset: 'private_chat',
      name: 'Tea',
      creation_content: { type: 'm.space' },
    })
    expect((await inviting(alice, roomId)).status).toBe(200)
    const [token, kept] = [...identity.kept].at(-1)!
    expect(kept).toEqual({
      medium: 'email',
      address: 'carol@example.org',
      room_id: roomId,
      sender: alice.userId,
      room_name: 'Tea',
      room_join_rules: 'invite',
      room_type: 'm.space',
      sender_display_name: 'Alice',
    })
    const [offer] = await stateOf(roomId, 'm.room.third_party_invite')
    expect(offer).toMatchObject({ state_key: token, sender: alice.userId, content: identity.offer() })
    expect(Object.keys(offer.content).sort()).toEqual(Object.keys(identity.offer()).sort())
  })

  it('finds the address also when the pepper has changed meanwhile, once', async () => {
    identity.known.set('carol@example.org', bob.userId)
    identity.script = ({ url }) => {
      if (!url.endsWith('/hash_details')) return undefined
      identity.script = undefined
      return { status: 200, body: { lookup_pepper: 'old', algorithms: ['sha256'] } }
    }
    const roomId = await alice.createRoom({ preset: 'private_chat' })
    expect((await inviting(alice, roomId)).status).toBe(200)
    expect(await invited(bob, roomId)).toBeDefined()
    answering('hash_details', { lookup_pepper: 'old', algorithms: ['sha256'] })
    const before = asked('lookup').length
    expect((await inviting(alice, roomId)).status).toBe(400)
    expect(asked('lookup')).toHaveLength(before + 2)
  })

  it('invites who was known a moment later', async () => {
    answering('store-invite', { errcode: 'M_THREEPID_IN_USE', error: 'Known', mxid: bob.userId }, 400)
    const roomId = await alice.createRoom({ preset: 'private_chat' })
    expect((await inviting(alice, roomId)).status).toBe(200)
    expect(await invited(bob, roomId)).toBeDefined()
  })

  it('asks nobody for who may not invite', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat', power_level_content_override: { invite: 50 } })
    const before = identity.https.asked.length
    expect((await inviting(bob, roomId)).body.errcode).toBe('M_FORBIDDEN')
    await bob.join(roomId)
    expect((await inviting(bob, roomId)).body.errcode).toBe('M_FORBIDDEN')
    expect(identity.https.asked).toHaveLength(before)
  })

  it('can be made with the room', async () => {
    identity.known.set('carol@example.org', bob.userId)
    const roomId = await alice.createRoom({
      preset: 'private_chat',
      invite_3pid: [whom(), whom({ address: 'dave@example.org' })],
    })
    await eventually('bob is invited', () => invited(bob, roomId))
    expect(await stateOf(roomId, 'm.room.third_party_invite')).toHaveLength(1)
    const { status, body } = await alice.post(`${v3}/createRoom`, { invite_3pid: [whom({ id_access_token: 'x' })] })
    expect({ status, error: body.error }).toEqual({
      status: 403,
      error: expect.stringMatching(/^The room !.* is there/),
    })
  })

  const kept = { token: 'abc', public_keys: identity.offer()['public_keys'], display_name: 'c...' }
  it.each<[sentence: string, path: string, body: unknown, status: number, expected: string]>([
    ['who asks with a token it does not know', 'lookup', { errcode: 'M_UNKNOWN_TOKEN' }, 401, '403 M_FORBIDDEN'],
    ['who has not agreed to its terms', 'lookup', { errcode: 'M_TERMS_NOT_SIGNED' }, 403, '403 M_FORBIDDEN'],
    ['who asks too often', 'hash_details', { errcode: 'M_LIMIT_EXCEEDED' }, 429, '429 M_LIMIT_EXCEEDED'],
    ['a medium it does not know', 'store-invite', { errcode: 'M_UNRECOGNIZED' }, 400, '400 M_INVALID_PARAM'],
  ])('is refused to %s', async (_sentence, path, body, status, expected) => {
    answering(path, body, status)
    const answer = await inviting(alice, await alice.createRoom())
    expect(`${answer.status} ${answer.body.errcode}`).toBe(expected)
  })

  it.each<[sentence: string, path: string, body: unknown, status: number]>([
    ['fails', 'lookup', {}, 500],
    ['has moved', 'lookup', {}, 302],
    ['knows no hash', 'hash_details', { lookup_pepper: 'p', algorithms: ['none'] }, 200],
    ['has no pepper', 'hash_details', { algorithms: ['sha256'] }, 200],
    ['answers with a list', 'hash_details', [], 200],
    ['says nothing of mappings', 'lookup', { mappings: null }, 200],
    ['keeps no token', 'store-invite', { ...kept, token: undefined }, 200],
    ['keeps an empty token', 'store-invite', { ...kept, token: '' }, 200],
    ['keeps a token of other characters', 'store-invite', { ...kept, token: 'a/b' }, 200],
    ['keeps a token that is too long', 'store-invite', { ...kept, token: 'a'.repeat(256) }, 200],
    ['has no keys', 'store-invite', { ...kept, public_keys: [] }, 200],
    [
      'has a key that is none',
      'store-invite',
      { ...kept, public_keys: [{ public_key: 'x', key_validity_url: 'y' }] },
      200,
    ],
    ['has keys that are no list', 'store-invite', { ...kept, public_keys: {} }, 200],
  ])('is not made where the identity server %s', async (_sentence, path, body, status) => {
    answering(path, body, status)
    const roomId = await alice.createRoom()
    const answer = await inviting(alice, roomId)
    expect(`${answer.status} ${answer.body.errcode}`).toBe('502 M_UNKNOWN')
    expect(await stateOf(roomId, 'm.room.third_party_invite')).toEqual([])
  })

  it.each([
    ['no user id', 'bob'],
    ['a number', 1],
  ])('is not made for who is %s', async (_sentence, mxid) => {
    identity.script = ({ url, body }) =>
      url.endsWith('/lookup')
        ? { status: 200, body: { mappings: { [JSON.parse(body).addresses[0]]: mxid } } }
        : undefined
    const answer = await inviting(alice, await alice.createRoom())
    expect(answer.status).toBe(502)
  })

  it('is not made where the identity server answers with megabytes', async () => {
    answering('hash_details', { lookup_pepper: 'p'.repeat(1_000_000), algorithms: ['sha256'] })
    expect((await inviting(alice, await alice.createRoom())).status).toBe(504)
  })

  it.each<[string, object]>([
    ['a path after the name', { id_server: `${identity.name}/x` }],
    ['a name with a user', { id_server: `a@${identity.name}` }],
    ['an URL', { id_server: `https://${identity.name}` }],
    ['a name of 300 letters', { id_server: 'a'.repeat(300) }],
    ['no token', { id_access_token: undefined }],
    ['an empty token', { id_access_token: '' }],
    ['a token with a line break', { id_access_token: 'a\r\nHost: b' }],
    ['an address of 501 letters', { address: 'a'.repeat(501) }],
    ['an address that is a list', { address: [] }],
    ['no medium', { medium: undefined }],
  ])('with %s is not valid', async (_sentence, more) => {
    const before = identity.https.asked.length
    expect((await inviting(alice, await alice.createRoom(), more)).status).toBe(400)
    expect(identity.https.asked).toHaveLength(before)
  })
})

describe('an identity server inside the network', () => {
  it('is not connected to', async () => {
    const mia = await careful.user('mia')
    const before = identity.https.connections
    const roomId = await mia.createRoom()
    for (const id_server of [
      identity.name,
      `127.0.0.1:${identity.https.port}`,
      `[::ffff:127.0.0.1]:${identity.https.port}`,
    ]) {
      const answer = await inviting(mia, roomId, { id_server })
      expect([answer.status, answer.body.error]).toEqual([
        504,
        `The identity server ${id_server} cannot be reached now`,
      ])
    }
    expect(identity.https.connections).toBe(before)
  })
})
