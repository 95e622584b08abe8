import { describe, expect, it } from '@jest/globals'
import { eventually } from '../support/eventually.js'
import { startFederation } from '../support/federation.js'
import type { TestUser } from '../support/homeserver.js'

const [one, two, three] = await startFederation(3)
const alice = await one!.user('alice')
const bob = await two!.user('bob')
const carol = await three!.user('carol')
const v3 = '/_matrix/client/v3'
const inRoom = (roomId: string, rest: string) => `${v3}/rooms/${encodeURIComponent(roomId)}/${rest}`

const joinVia = (user: TestUser, roomId: string, via: string) =>
  user.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?via=${via}`, {})
const membership = async (seenBy: TestUser, roomId: string, of: TestUser): Promise<string | undefined> => {
  const { status, body } = await seenBy.request('GET', inRoom(roomId, `state/m.room.member/${of.userId}`))
  return status === 200 ? body.membership : undefined
}
const said = async (user: TestUser, roomId: string): Promise<string[]> => {
  const { chunk } = await user.ok('GET', inRoom(roomId, 'messages?dir=b&limit=50'))
  return chunk.map(({ content }: { content: { body?: string } }) => content.body).filter((body?: string) => body)
}

describe('three servers', () => {
  it('hear of joins and invites from the server that takes them in', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat' })
    await joinVia(bob, roomId, one!.name)
    await alice.ok('POST', inRoom(roomId, 'invite'), { user_id: carol.userId })
    await eventually('two hears of the invite', async () => (await membership(bob, roomId, carol)) === 'invite')
    await carol.join(roomId)
    await eventually('two hears of the join', async () => (await membership(bob, roomId, carol)) === 'join')
    await bob.say(roomId, 'to everybody')
    await eventually('carol reads it', async () => (await said(carol, roomId)).includes('to everybody'))
    await eventually('alice reads it', async () => (await said(alice, roomId)).includes('to everybody'))
  })

  it('go on without the one that made the room', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat' })
    await joinVia(bob, roomId, one!.name)
    // Only one can tell two who is in the room.
    await bob.ok('GET', inRoom(roomId, 'members'))
    await one!.unplug()
    await joinVia(carol, roomId, two!.name)
    await carol.say(roomId, 'alice is away')
    await eventually('bob reads it', async () => (await said(bob, roomId)).includes('alice is away'))
    await one!.plug()
    await eventually(
      'alice reads it when she is back',
      async () => (await said(alice, roomId)).includes('alice is away'),
      {
        within: 30_000,
      },
    )
    expect(await membership(alice, roomId, carol)).toBe('join')
  })

  it('let a user in by whichever of them can', async () => {
    const space = await bob.createRoom({ preset: 'public_chat' })
    await joinVia(alice, space, two!.name)
    await joinVia(carol, space, two!.name)
    const rule = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: space }] }
    const initial_state = [{ type: 'm.room.join_rules', state_key: '', content: rule }]
    const roomId = await alice.createRoom({ preset: 'private_chat', initial_state })
    await eventually('one knows who is in the space', async () => (await membership(alice, space, carol)) === 'join')
    await joinVia(bob, roomId, one!.name)
    // Its own server is in the room and has nobody who may let others in.
    const dave = await two!.user('dave')
    await dave.join(space)
    await eventually('one knows dave', async () => (await membership(alice, space, dave)) === 'join')
    await joinVia(dave, roomId, one!.name)
    await eventually('alice sees dave', async () => (await membership(alice, roomId, dave)) === 'join')
    await eventually('bob sees dave', async () => (await membership(bob, roomId, dave)) === 'join')
  })
})
