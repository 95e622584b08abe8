import { describe, expect, it } from '@jest/globals'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'

const homeserver = await startTestHomeserver()
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')

const base = '/_matrix/client/v3/rooms'

async function roomOf(...members: TestUser[]): Promise<string> {
  const room = await alice.createRoom()
  for (const member of members) await member.join(room)
  return room
}

const receipt = (user: TestUser, room: string, type: string, event: string, body: unknown = {}) =>
  user.post(`${base}/${room}/receipt/${type}/${encodeURIComponent(event)}`, body)

const receiptsIn = async (room: string) => {
  const rows = await homeserver.database.db
    .selectFrom('receipt')
    .innerJoin('room', 'room.room', 'receipt.room')
    .select(['receipt_type', 'thread_id', 'event_id', 'receipt.notify_count'])
    .where('room_id', '=', room)
    .orderBy('receipt.position')
    .execute()
  return rows.map((row) => [row.receipt_type, row.thread_id, row.event_id])
}

const fullyRead = (user: TestUser, room: string) =>
  user.get(`/_matrix/client/v3/user/${user.userId}/rooms/${room}/account_data/m.fully_read`)

describe('a receipt', () => {
  it('moves forwards and never backwards', async () => {
    const room = await roomOf(bob)
    const [first, second] = [await alice.say(room, '1'), await alice.say(room, '2')]
    expect(await receipt(bob, room, 'm.read', second)).toMatchObject({ status: 200, body: {} })
    expect(await receipt(bob, room, 'm.read', first)).toMatchObject({ status: 200, body: {} })
    expect(await receiptsIn(room)).toEqual([['m.read', '', second]])
  })

  it('does not move backwards when two come at once', async () => {
    const room = await roomOf(bob)
    const events = []
    for (let i = 0; i < 5; i++) events.push(await alice.say(room, String(i)))
    await Promise.all(events.toReversed().map((event) => receipt(bob, room, 'm.read', event)))
    expect(await receiptsIn(room)).toEqual([['m.read', '', events[4]]])
  })

  it('of each kind and thread stands for itself', async () => {
    const room = await roomOf(bob)
    const root = await alice.say(room, 'root')
    const { event_id: reply } = await alice.ok('PUT', `${base}/${room}/send/m.room.message/reply`, {
      msgtype: 'm.text',
      body: 'in the thread',
      'm.relates_to': { rel_type: 'm.thread', event_id: root },
    })
    const { event_id: reaction } = await alice.ok('PUT', `${base}/${room}/send/m.reaction/reaction`, {
      'm.relates_to': { rel_type: 'm.annotation', event_id: reply, key: 'x' },
    })
    await receipt(bob, room, 'm.read.private', reply)
    await receipt(bob, room, 'm.read', root, { thread_id: 'main' })
    await receipt(bob, room, 'm.read', root, { thread_id: root })
    await receipt(bob, room, 'm.read', reaction, { thread_id: root })
    expect(await receiptsIn(room)).toEqual([
      ['m.read.private', '', reply],
      ['m.read', 'main', root],
      ['m.read', root, reaction],
    ])
    for (const [event, thread_id] of [
      [reply, 'main'],
      [root, reply],
    ] as const) {
      const { status, body } = await receipt(bob, room, 'm.read', event, { thread_id })
      expect([status, body.errcode]).toEqual([400, 'M_INVALID_PARAM'])
    }
  })

  it.each([
    ['an empty thread', 'm.read', { thread_id: '' }, 'M_INVALID_PARAM'],
    ['a thread that is no text', 'm.read', { thread_id: 1 }, 'M_BAD_JSON'],
    ['a thread for the fully-read marker', 'm.fully_read', { thread_id: 'main' }, 'M_INVALID_PARAM'],
    ['a type nobody knows', 'm.delivered', {}, 'M_INVALID_PARAM'],
  ])('refuses %s', async (_what, type, body, errcode) => {
    const room = await roomOf(bob)
    const answer = await receipt(bob, room, type, await alice.say(room, 'x'), body)
    expect([answer.status, answer.body.errcode]).toEqual([400, errcode])
  })

  it('is refused to those who are not in the room, and for events they cannot see', async () => {
    const room = await roomOf(bob)
    const event = await alice.say(room, 'x')
    const carol = await homeserver.user()
    expect((await receipt(carol, room, 'm.read', event)).status).toBe(403)
    expect((await receipt(bob, room, 'm.read', `$${'a'.repeat(43)}`)).status).toBe(404)
    const other = await roomOf()
    expect((await receipt(bob, room, 'm.read', await alice.say(other, 'y'))).status).toBe(404)
  })

  it('needs no body', async () => {
    const room = await roomOf(bob)
    const event = await alice.say(room, 'x')
    expect((await receipt(bob, room, 'm.read', event, '')).status).toBe(200)
  })
})

describe('read markers', () => {
  it('move together, and the fully-read one is account data of the room', async () => {
    const room = await roomOf(bob)
    const [first, second] = [await alice.say(room, '1'), await alice.say(room, '2')]
    const markers = (body: object) => bob.post(`${base}/${room}/read_markers`, body)
    expect((await fullyRead(bob, room)).status).toBe(404)
    await markers({ 'm.fully_read': first, 'm.read': second, 'm.read.private': second })
    expect((await fullyRead(bob, room)).body).toEqual({ event_id: first })
    expect(await receiptsIn(room)).toEqual([
      ['m.read', '', second],
      ['m.read.private', '', second],
    ])
    await receipt(bob, room, 'm.fully_read', second)
    await markers({ 'm.fully_read': first })
    expect((await fullyRead(bob, room)).body).toEqual({ event_id: second })
    expect((await markers({})).body).toEqual({})
  })

  it('do not move at all when one of the events is unknown', async () => {
    const room = await roomOf(bob)
    const event = await alice.say(room, '1')
    const body = { 'm.fully_read': event, 'm.read': `$${'b'.repeat(43)}` }
    expect((await bob.post(`${base}/${room}/read_markers`, body)).status).toBe(404)
    expect((await fullyRead(bob, room)).status).toBe(404)
  })
})

describe('typing', () => {
  const typing = (user: TestUser, room: string, body: unknown, who = user.userId) =>
    user.put(`${base}/${room}/typing/${encodeURIComponent(who)}`, body)
  const typists = async (room: string) =>
    homeserver.services.typing.users((await homeserver.services.rooms.named(room)).room)

  it('is begun and ended by members for themselves', async () => {
    const room = await roomOf(bob)
    expect((await typing(bob, room, { typing: true, timeout: 20_000 })).status).toBe(200)
    expect(await typists(room)).toEqual([bob.userId])
    await typing(bob, room, { typing: false })
    expect(await typists(room)).toEqual([])
    await typing(bob, room, { typing: true })
    expect(await typists(room)).toEqual([bob.userId])
  })

  it('is refused for others and to who is not in the room', async () => {
    const room = await roomOf(bob)
    expect((await typing(bob, room, { typing: true }, alice.userId)).status).toBe(403)
    const carol = await homeserver.user()
    expect((await typing(carol, room, { typing: true })).status).toBe(403)
  })
})
