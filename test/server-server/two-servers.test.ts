import { describe, expect, it } from '@jest/globals'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
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

const leaves = { room: { include_leave: true } }
const act = (user: TestUser, roomId: string, action: string, body: object = {}) =>
  user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/${action}`, body)
const membershipOf = async (user: TestUser, roomId: string, of: TestUser): Promise<string | undefined> =>
  (await members(user, roomId))[of.userId]

describe.each(roomVersionNames)('a room of version %s', (version) => {
  it('takes an invite, a join, a ban and a redaction between servers', async () => {
    const roomId = await alice.createRoom({ preset: 'private_chat', room_version: version })
    expect((await act(alice, roomId, 'invite', { user_id: bob.userId })).status).toBe(200)
    const invited = await eventually('bob is invited', async () => (await bob.sync()).rooms?.invite?.[roomId])
    const told = invited.invite_state.events.map(({ type }: { type: string }) => type)
    expect(told).toEqual(expect.arrayContaining(['m.room.create', 'm.room.member', 'm.room.join_rules']))
    await bob.join(roomId)
    await eventually('bob is in', async () => (await membershipOf(alice, roomId, bob)) === 'join')
    const said = await bob.say(roomId, 'to be redacted')
    await eventually('it is there', async () => (await timeline(alice, roomId)).includes('to be redacted'))
    await alice.ok('PUT', `${v3}/rooms/${encodeURIComponent(roomId)}/redact/${encodeURIComponent(said)}/1`, {})
    await eventually('it is gone', async () => !(await timeline(bob, roomId)).includes('to be redacted'))
    expect((await act(alice, roomId, 'ban', { user_id: bob.userId })).status).toBe(200)
    await eventually('bob is told', async () => (await bob.sync({ filter: leaves })).rooms?.leave?.[roomId])
    expect((await act(bob, roomId, 'join')).body.errcode).toBe('M_FORBIDDEN')
  })
})

describe('an invite to another server', () => {
  it('is declined there, and the room hears of it', async () => {
    const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] })
    await eventually('bob is invited', async () => (await bob.sync()).rooms?.invite?.[roomId])
    expect((await act(bob, roomId, 'leave')).status).toBe(200)
    await eventually('alice hears', async () => (await membershipOf(alice, roomId, bob)) === 'leave')
    expect((await bob.sync()).rooms?.invite?.[roomId]).toBeUndefined()
  })

  it('is gone for who declines it, also while its server cannot be reached', async () => {
    const roomId = await alice.createRoom({ preset: 'private_chat', invite: [bob.userId] })
    await eventually('bob is invited', async () => (await bob.sync()).rooms?.invite?.[roomId])
    await one!.unplug()
    expect((await act(bob, roomId, 'leave')).status).toBe(200)
    await one!.plug()
    expect((await bob.sync()).rooms?.invite?.[roomId]).toBeUndefined()
  })

  it('of somebody who does not exist is not made', async () => {
    const roomId = await alice.createRoom({ preset: 'private_chat' })
    const { status, body } = await act(alice, roomId, 'invite', { user_id: `@nobody:${two!.name}` })
    expect([status, body.errcode]).toEqual([404, 'M_NOT_FOUND'])
    expect(Object.keys(await members(alice, roomId))).toEqual([alice.userId])
  })
})

describe('a room of another server', () => {
  it('is knocked on, and its server invites who knocked', async () => {
    const roomId = await alice.createRoom({ preset: 'private_chat' })
    await alice.ok('PUT', `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.join_rules/`, { join_rule: 'knock' })
    const path = `${v3}/knock/${encodeURIComponent(roomId)}?via=${one!.name}`
    expect(await bob.ok('POST', path, { reason: 'please' })).toEqual({ room_id: roomId })
    expect((await bob.sync()).rooms.knock[roomId].knock_state.events.length).toBeGreaterThan(2)
    expect(await membershipOf(alice, roomId, bob)).toBe('knock')
    expect((await act(alice, roomId, 'invite', { user_id: bob.userId })).status).toBe(200)
    await eventually('bob is invited', async () => (await bob.sync()).rooms?.invite?.[roomId])
    await bob.join(roomId)
    await eventually('bob is in', async () => (await membershipOf(alice, roomId, bob)) === 'join')
  })

  it('that is restricted lets in who is in the room it names', async () => {
    const space = await alice.createRoom({ preset: 'public_chat' })
    await joinVia(bob, space, one!.name)
    const rule = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: space }] }
    const initial_state = [{ type: 'm.room.join_rules', state_key: '', content: rule }]
    const roomId = await alice.createRoom({ preset: 'private_chat', initial_state })
    await eventually('one knows bob in the space', async () => (await membershipOf(alice, space, bob)) === 'join')
    await joinVia(bob, roomId, one!.name)
    await eventually('bob is in', async () => (await membershipOf(alice, roomId, bob)) === 'join')
    const carol = await two!.user()
    const refused = await carol.post(`${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
    expect([refused.status, refused.body.errcode]).toEqual([403, 'M_FORBIDDEN'])
  })

  it('is found by its alias, left, and joined again as it is by then', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'meeting' })
    const alias = `#meeting:${one!.name}`
    expect(await bob.ok('POST', `${v3}/join/${encodeURIComponent(alias)}`, {})).toEqual({ room_id: roomId })
    await eventually('bob is in', async () => (await membershipOf(alice, roomId, bob)) === 'join')
    expect((await act(bob, roomId, 'leave')).status).toBe(200)
    await eventually('bob is out', async () => (await membershipOf(alice, roomId, bob)) === 'leave')
    await alice.ok('PUT', `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.topic/`, { topic: 'meanwhile' })
    await joinVia(bob, roomId, one!.name)
    const topic = await bob.ok('GET', `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.topic/`)
    expect(topic).toMatchObject({ topic: 'meanwhile' })
  })

  it('that no server knows is not found, and a server that is away is said to be', async () => {
    const unknown = await bob.post(`${v3}/join/${encodeURIComponent('!none:elsewhere.test')}?via=${one!.name}`, {})
    expect([unknown.status, unknown.body.errcode]).toEqual([404, 'M_NOT_FOUND'])
    const roomId = await alice.createRoom({ preset: 'public_chat' })
    await one!.unplug()
    const away = await bob.post(`${v3}/join/${encodeURIComponent(roomId)}?via=${one!.name}`, {})
    await one!.plug()
    expect([away.status, away.body.errcode]).toEqual([504, 'M_UNKNOWN'])
  })
})

describe('after a time without connection', () => {
  it('both have what was said on either side, and one state', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat' })
    await joinVia(bob, roomId, one!.name)
    await eventually('bob is in', async () => (await membershipOf(alice, roomId, bob)) === 'join')
    await Promise.all([one!.unplug(), two!.unplug()])
    for (let i = 0; i < 5; i++) {
      await alice.say(roomId, `one ${i}`)
      await bob.say(roomId, `two ${i}`)
    }
    await alice.ok('PUT', `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.topic/`, { topic: 'by alice' })
    await Promise.all([one!.plug(), two!.plug()])
    await alice.say(roomId, 'are you there?')
    const all = (said: string[]) =>
      Array.from({ length: 5 }, (_, i) => [`one ${i}`, `two ${i}`])
        .flat()
        .every((text) => said.includes(text))
    await eventually('alice has all', async () => all(await timeline(alice, roomId)), { within: 60_000 })
    await eventually('bob has all', async () => all(await timeline(bob, roomId)), { within: 60_000 })
    const topic = await bob.ok('GET', `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.topic/`)
    expect(topic).toMatchObject({ topic: 'by alice' })
  })
})
