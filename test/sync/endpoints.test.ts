import { describe, expect, it } from '@jest/globals'
import { startTestHomeserver } from '../support/homeserver.js'

const homeserver = await startTestHomeserver()
const path = (room: string) => `/_matrix/client/v3/rooms/${encodeURIComponent(room)}`

describe('GET /sync', () => {
  it('wakes a waiting client for a message', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    const room = await alice.createRoom()
    await bob.join(room)
    const since = await bob.syncToken()
    const waiting = bob.sync({ since, timeout: 20_000 })
    await alice.say(room, 'are you there?')
    const { rooms } = await waiting
    expect(rooms.join[room].timeline.events).toMatchObject([
      { content: { body: 'are you there?' }, sender: alice.userId },
    ])
    expect(rooms.join[room].unread_notifications).toEqual({ notification_count: 1, highlight_count: 0 })
  })

  it('says how the device called its own message', async () => {
    const alice = await homeserver.user()
    const room = await alice.createRoom()
    const since = await alice.syncToken()
    await alice.ok('PUT', `${path(room)}/send/m.room.message/mine`, { msgtype: 'm.text', body: 'hi' })
    const { rooms } = await alice.sync({ since })
    expect(rooms.join[room].timeline.events[0].unsigned).toMatchObject({ transaction_id: 'mine', membership: 'join' })
  })

  it('has a prev_batch from which /messages goes on without gap or repeat', async () => {
    const alice = await homeserver.user()
    const room = await alice.createRoom()
    const sent: string[] = []
    for (let i = 0; i < 25; i++) sent.push(await alice.say(room, String(i)))
    const { rooms } = await alice.sync({ filter: { room: { timeline: { limit: 5 } } } })
    const { timeline } = rooms.join[room]
    expect(timeline.limited).toBe(true)
    const ids = timeline.events.map((event: { event_id: string }) => event.event_id)
    expect(ids).toEqual(sent.slice(-5))
    const page = await alice.ok('GET', `${path(room)}/messages?dir=b&from=${timeline.prev_batch}&limit=20`)
    const older = page.chunk.map((event: { event_id: string }) => event.event_id)
    expect(older).toEqual(sent.slice(0, 20).reverse())
  })

  it('answers under both names of state_after, each when it is asked for', async () => {
    const alice = await homeserver.user()
    const room = await alice.createRoom({ name: 'Tea' })
    const stable = (await alice.sync({ use_state_after: true })).rooms.join[room]
    expect(stable.state).toBeUndefined()
    expect(stable.state_after.events.map((event: { type: string }) => event.type)).toContain('m.room.name')
    const unstable = (await alice.sync({ 'org.matrix.msc4222.use_state_after': true })).rooms.join[room]
    expect(Object.keys(unstable)).toContain('org.matrix.msc4222.state_after')
    expect(Object.keys(unstable)).not.toContain('state_after')
  })

  it.each([
    ['since=nonsense', 'M_INVALID_PARAM'],
    ['since=s1_x_y', 'M_INVALID_PARAM'],
    ['filter={"room":3}', 'M_INVALID_PARAM'],
    ['filter={', 'M_INVALID_PARAM'],
    ['filter=abc', 'M_INVALID_PARAM'],
    ['timeout=soon', 'M_INVALID_PARAM'],
    ['set_presence=dancing', 'M_INVALID_PARAM'],
  ])('refuses %s', async (query, errcode) => {
    const alice = await homeserver.user()
    const { status, body } = await alice.get(`/_matrix/client/v3/sync?${query}`)
    expect([status, body.errcode]).toEqual([400, errcode])
  })
})

describe('/user/{userId}/filter', () => {
  it('stores a filter once, gives it back as it was, and sync goes by it', async () => {
    const alice = await homeserver.user()
    const room = await alice.createRoom()
    for (const body of ['a', 'b', 'c']) await alice.say(room, body)
    const filters = `/_matrix/client/v3/user/${alice.userId}/filter`
    const filter = { room: { timeline: { limit: 1 } }, unknown: [1.5] }
    const { filter_id } = await alice.ok('POST', filters, filter)
    expect((await alice.ok('POST', filters, filter)).filter_id).toBe(filter_id)
    expect((await alice.ok('POST', filters, {})).filter_id).not.toBe(filter_id)
    expect(await alice.ok('GET', `${filters}/${filter_id}`)).toEqual(filter)
    const { rooms } = await alice.sync({ filter: filter_id })
    expect(rooms.join[room].timeline.events).toHaveLength(1)
  })

  it('knows no filters of others, and none that was not stored', async () => {
    const [alice, bob] = [await homeserver.user(), await homeserver.user()]
    const { filter_id } = await alice.ok('POST', `/_matrix/client/v3/user/${alice.userId}/filter`, {})
    expect((await bob.get(`/_matrix/client/v3/user/${alice.userId}/filter/${filter_id}`)).status).toBe(403)
    expect((await bob.get(`/_matrix/client/v3/user/${bob.userId}/filter/77`)).body.errcode).toBe('M_NOT_FOUND')
    expect((await bob.get('/_matrix/client/v3/sync?filter=77')).body.errcode).toBe('M_NOT_FOUND')
    expect((await alice.post(`/_matrix/client/v3/user/${alice.userId}/filter`, { room: 1 })).status).toBe(400)
  })
})
