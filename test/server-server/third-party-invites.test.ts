/** Invites by e-mail address between servers, with an identity server that signs whose address it is. */
import { describe, expect, it } from '@jest/globals'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { TestAuthority } from '../support/certificates.js'
import { eventually } from '../support/eventually.js'
import { startFederation, type FederatedServer } from '../support/federation.js'
import { IdentityServer, identityToken, type Bind } from '../support/identity-server.js'
import { TestClient } from '../support/http.js'
import type { TestUser } from '../support/test-user.js'

const authority = new TestAuthority()
const identity = await IdentityServer.start(authority)
const [one, two, three] = (await startFederation(3, { authority })) as [
  FederatedServer,
  FederatedServer,
  FederatedServer,
]
const alice = await one.user('alice')
const v3 = '/_matrix/client/v3'
const onBind = '/_matrix/federation/v1/3pid/onbind'

const inviteByMail = (user: TestUser, roomId: string, address = 'carol@example.org') =>
  user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/invite`, {
    id_server: identity.name,
    id_access_token: identityToken,
    medium: 'email',
    address,
  })
/** The token of an invite that the identity server keeps. */
const offered = async (user: TestUser, roomId: string): Promise<string> => {
  expect((await inviteByMail(user, roomId)).status).toBe(200)
  return [...identity.kept].findLast(([, { room_id }]) => room_id === roomId)![0]
}
const bound = (server: FederatedServer, bind: Bind) => new TestClient(server.baseUrl).put(onBind, bind)
const invited = async (user: TestUser, roomId: string) => (await user.sync()).rooms?.invite?.[roomId]
const member = async (reader: TestUser, roomId: string, { userId }: TestUser) =>
  (await reader.get(`${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${userId}`)).body
const join = (user: TestUser, roomId: string, ...via: string[]) =>
  user.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?${via.map((name) => `via=${name}`).join('&')}`, {})

describe.each(roomVersionNames)('a third-party invite in a room of version %s', (version) => {
  it('is exchanged with the server of who made it, when the address is bound', async () => {
    const carol = await two.user()
    const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version })
    const token = await offered(alice, roomId)
    expect(await bound(two, identity.bind(carol.userId, token))).toMatchObject({ status: 200, body: {} })
    expect(await invited(carol, roomId)).toBeDefined()
    expect(await member(alice, roomId, carol)).toEqual({
      membership: 'invite',
      third_party_invite: { display_name: 'c...@e...', signed: identity.signed(carol.userId, token) },
    })
    await carol.join(roomId)
    await eventually('carol is in', async () => (await member(alice, roomId, carol)).membership === 'join')
  })

  it('is redeemed by a server that is in the room, for whoever made it', async () => {
    const [dora, carol] = [await three.user(), await two.user()]
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version })
    await join(await two.user(), roomId, one.name)
    await join(dora, roomId, one.name)
    const token = await offered(alice, roomId)
    await eventually('two has the offer', async () => {
      const { rooms } = two.services
      return rooms.currentState(await rooms.named(roomId), 'm.room.third_party_invite', token)
    })
    expect((await bound(two, identity.bind(carol.userId, token))).status).toBe(200)
    expect(await invited(carol, roomId)).toBeDefined()
    for (const other of [alice, dora])
      await eventually('the others hear of it', async () => (await member(other, roomId, carol)).membership === 'invite')
    await carol.join(roomId)
    await eventually('carol is in', async () => (await member(alice, roomId, carol)).membership === 'join')
  })
})
