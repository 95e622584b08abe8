import { describe, expect, it } from '@jest/globals'
import { eventually } from '../support/eventually.js'
import { startFederation } from '../support/federation.js'
import type { TestUser } from '../support/homeserver.js'

const [one, two] = await startFederation(2)
const alice = await one!.user('alice')
const bob = await two!.user('bob')
const v3 = '/_matrix/client/v3'

const joinVia = (user: TestUser, roomId: string, ...via: string[]) =>
  user.ok('POST', `${v3}/join/${encodeURIComponent(roomId)}?${via.map((name) => `via=${name}`).join('&')}`, {})
const timeline = async (user: TestUser, roomId: string): Promise<string[]> => {
  const { chunk } = await user.ok('GET', `${v3}/rooms/${encodeURIComponent(roomId)}/messages?dir=b&limit=50`)
  return chunk.map(({ content }: { content: { body?: string } }) => content.body).filter((body?: string) => body)
}
const members = async (user: TestUser, roomId: string): Promise<Record<string, string>> => {
  const { chunk } = await user.ok('GET', `${v3}/rooms/${encodeURIComponent(roomId)}/members`)
  return Object.fromEntries(
    chunk.map((event: { state_key: string; content: { membership: string } }) => [
      event.state_key,
      event.content.membership,
    ]),
  )
}

describe('two servers', () => {
  it('share a room that a user of the other joins, and what is said in it goes both ways', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat' })
    await alice.say(roomId, 'before')
    expect(await joinVia(bob, roomId, one!.name)).toEqual({ room_id: roomId })
    expect(await members(bob, roomId)).toEqual({ [alice.userId]: 'join', [bob.userId]: 'join' })
    await eventually('bob is a member on one', async () => (await members(alice, roomId))[bob.userId] === 'join')
    await bob.say(roomId, 'hello from two')
    await eventually('alice reads bob', async () => (await timeline(alice, roomId)).includes('hello from two'))
    await alice.say(roomId, 'hello from one')
    await eventually('bob reads alice', async () => (await timeline(bob, roomId)).includes('hello from one'))
    await eventually('bob reads what was before', async () => (await timeline(bob, roomId)).includes('before'))
    expect(await timeline(bob, roomId)).toEqual(['hello from one', 'hello from two', 'before'])
  })
})
