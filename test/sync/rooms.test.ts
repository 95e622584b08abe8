import { afterAll, describe, expect, it } from '@jest/globals'
import type { JsonObject } from '../../src/protocol/json.js'
import type { RoomName } from '../../src/store/room-names.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'
import { bodies, testSync, TestDevice } from './device.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { sync } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await engine.close()
})

let people = 0
const someone = (name: string) => `${name}${people++}`

const setState = (room: RoomName, sender: string, type: string, content: JsonObject, stateKey = '') =>
  engine.rooms.send(room, { type, stateKey, sender, content })
const member = (room: RoomName, sender: string, target: string, membership: string) =>
  engine.rooms.changeMembership(room, sender, target, { membership })

/** Bob is in a room of Alice, and his device has synced. */
async function joinedPair() {
  const [aliceName, bobName] = [someone('alice'), someone('bob')]
  const [alice, bob] = [user(aliceName), user(bobName)]
  const room = await testRoom(engine, alice)
  await join(engine, room, bob)
  const device = new TestDevice(sync, bobName)
  await device.next()
  return { alice, bob, room, device }
}

/** Types (and state keys) of a state part. */
const keys = (events: { type: string; state_key: string }[]) =>
  events.map(({ type, state_key }) => (state_key === '' ? type : `${type} ${state_key}`)).sort()

const withoutUnsigned = ({ unsigned: _unsigned, ...event }: { unsigned: object }) => event

describe('the timeline and state of a joined room', () => {
  it('gives the last events of a gap and exactly the state that changed before them', async () => {
    const name = someone('alice')
    const alice = user(name)
    const room = await testRoom(engine, alice)
    const device = new TestDevice(sync, name)
    await device.next()
    await setState(room, alice, 'm.room.name', { name: 'Old' })
    await setState(room, alice, 'm.room.topic', { topic: 'Tea' })
    await setState(room, alice, 'm.room.name', { name: 'New' })
    for (let i = 0; i < 10; i++) await say(engine, room, alice, String(i))
    await setState(room, alice, 'm.room.topic', { topic: 'Coffee' })
    const shown = (await device.next({ json: { room: { timeline: { limit: 4 } } } })).rooms.join[room.roomId]
    expect(shown.timeline.limited).toBe(true)
    expect(bodies(shown)).toEqual(['7', '8', '9'])
    expect(keys(shown.state.events)).toEqual(['m.room.name', 'm.room.topic'])
    expect(shown.state.events.find((event: { type: string }) => event.type === 'm.room.name').content.name).toBe('New')
    expect(shown.state.events.find((event: { type: string }) => event.type === 'm.room.topic').content.topic).toBe(
      'Tea',
    )
  })

  it('gives the state at the end of the timeline to who wants that', async () => {
    const name = someone('alice')
    const alice = user(name)
    const room = await testRoom(engine, alice)
    const device = new TestDevice(sync, name)
    await device.next()
    await setState(room, alice, 'm.room.topic', { topic: 'Tea' })
    await setState(room, alice, 'm.room.topic', { topic: 'Coffee' })
    const shown = (await device.next({ stateAfter: ['state_after'] })).rooms.join[room.roomId]
    expect(shown.state).toBeUndefined()
    expect(shown.timeline.events).toHaveLength(2)
    expect(shown.state_after.events).toMatchObject([{ type: 'm.room.topic', content: { topic: 'Coffee' } }])
    await say(engine, room, alice, 'hi')
    expect((await device.next({ stateAfter: ['state_after'] })).rooms.join[room.roomId].state_after).toEqual({
      events: [],
    })
  })

  it('tells in the state of what a filter keeps out of the timeline', async () => {
    const name = someone('alice')
    const alice = user(name)
    const room = await testRoom(engine, alice)
    const device = new TestDevice(sync, name)
    await device.next()
    await say(engine, room, alice, 'one')
    await setState(room, alice, 'm.room.topic', { topic: 'Tea' })
    const json = { room: { timeline: { types: ['m.room.message'] } } }
    const shown = (await device.next({ json })).rooms.join[room.roomId]
    expect(bodies(shown)).toEqual(['one'])
    expect(keys(shown.state.events)).toEqual(['m.room.topic'])
  })

  it('gives all state, and no event twice, with full_state', async () => {
    const name = someone('alice')
    const alice = user(name)
    const room = await testRoom(engine, alice)
    const device = new TestDevice(sync, name)
    await device.next()
    const still = (await device.next({ fullState: true, timeout: 60_000 })).rooms.join[room.roomId]
    expect(still.timeline.events).toEqual([])
    expect(keys(still.state.events)).toEqual([
      'm.room.create',
      'm.room.join_rules',
      `m.room.member ${alice}`,
      'm.room.power_levels',
    ])
    await setState(room, alice, 'm.room.topic', { topic: 'Tea' })
    const shown = (await device.next({ fullState: true })).rooms.join[room.roomId]
    expect(keys(shown.timeline.events)).toEqual(['m.room.topic'])
    expect(shown.state.events).toHaveLength(4)
  })

  it('looks past what a filter keeps out for events it lets through', async () => {
    const name = someone('alice')
    const alice = user(name)
    const room = await testRoom(engine, alice)
    await say(engine, room, alice, 'a message')
    for (let i = 0; i < 30; i++) await setState(room, alice, 'm.room.topic', { topic: String(i) })
    const json = { room: { timeline: { types: ['m.room.message'], limit: 3 } } }
    const shown = (await new TestDevice(sync, name).next({ json })).rooms.join[room.roomId]
    expect(bodies(shown)).toEqual(['a message'])
    expect(shown.timeline.limited).toBe(false)
  })

  it('keeps rooms and parts of events out that a filter does not want', async () => {
    const name = someone('alice')
    const alice = user(name)
    const [one, other] = [await testRoom(engine, alice), await testRoom(engine, alice)]
    await say(engine, one, alice, 'x')
    const json = { room: { rooms: [one.roomId] }, event_fields: ['content.body', 'type'] }
    const { join: joined } = (await new TestDevice(sync, name).next({ json })).rooms
    expect(Object.keys(joined)).toEqual([one.roomId])
    expect(joined[one.roomId].timeline.events.at(-1)).toEqual({ type: 'm.room.message', content: { body: 'x' } })
    const none = (await new TestDevice(sync, name).next({ json: { room: { not_rooms: [one.roomId] } } })).rooms.join
    expect(Object.keys(none)).toEqual([other.roomId])
  })

  it('gives events as they are federated to who wants that', async () => {
    const name = someone('alice')
    const room = await testRoom(engine, user(name))
    await say(engine, room, user(name), 'x')
    const shown = (await new TestDevice(sync, name).next({ json: { event_format: 'federation' } })).rooms.join[
      room.roomId
    ]
    expect(shown.timeline.events.at(-1)).toHaveProperty('auth_events')
  })
})

describe('rooms that are joined and left', () => {
  it('gives a room that was joined since with all its state, also after a rejoin', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const room = await testRoom(engine, alice)
    const device = new TestDevice(sync, bobName)
    await device.next()
    await join(engine, room, bob)
    const joined = await device.next()
    expect(joined.rooms.join[room.roomId].timeline.limited).toBe(true)
    expect(joined.device_lists.changed).toContain(alice)
    await member(room, bob, bob, 'leave')
    await say(engine, room, alice, 'while he is away')
    await setState(room, alice, 'm.room.topic', { topic: 'Tea' })
    await join(engine, room, bob)
    const again = (await device.next({ json: { room: { timeline: { limit: 1 } } } })).rooms
    expect(again.leave).toBeUndefined()
    const shown = again.join[room.roomId]
    expect(shown.timeline.events).toMatchObject([{ type: 'm.room.member', state_key: bob }])
    expect(keys(shown.state.events)).toContain('m.room.create')
    expect(keys(shown.state.events)).toContain('m.room.topic')
  })

  it.each(['leave', 'ban'] as const)('shows a %s with what came before it and nothing after', async (membership) => {
    const { alice, bob, room, device } = await joinedPair()
    await setState(room, alice, 'm.room.topic', { topic: 'before' })
    await member(room, alice, bob, membership)
    await say(engine, room, alice, 'secret')
    await setState(room, alice, 'm.room.topic', { topic: 'after' })
    const answer = await device.next()
    expect(answer.rooms.join).toBeUndefined()
    const shown = answer.rooms.leave[room.roomId]
    expect(keys(shown.timeline.events)).toEqual([`m.room.member ${bob}`, 'm.room.topic'])
    expect(shown.timeline.events.at(-1)).toMatchObject({ sender: alice, content: { membership } })
    expect(JSON.stringify(answer)).not.toContain('secret')
    expect(JSON.stringify(answer)).not.toContain('after"')
    expect(answer.device_lists.left).toEqual([alice])
    expect((await device.next()).rooms).toBeUndefined()
    expect((await device.next({ since: undefined })).rooms).toBeUndefined()
  })

  it('shows a ban after leaving, without what happened in between', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    await member(room, bob, bob, 'leave')
    const device = new TestDevice(sync, bobName)
    await device.next()
    await say(engine, room, alice, 'secret')
    await member(room, alice, bob, 'ban')
    const shown = (await device.next()).rooms.leave[room.roomId]
    expect(shown.timeline.events).toMatchObject([{ state_key: bob, content: { membership: 'ban' } }])
    expect(shown.state.events).toEqual([])
  })

  it.each(['is declined', 'is taken back', 'ends in a ban'])(
    'gives the end of an invite that %s to who wants the state at the end of the timeline',
    async (ending) => {
      const [aliceName, bobName] = [someone('alice'), someone('bob')]
      const [alice, bob] = [user(aliceName), user(bobName)]
      const room = await testRoom(engine, alice)
      await member(room, alice, bob, 'invite')
      const device = new TestDevice(sync, bobName)
      await device.next()
      await member(room, ending === 'is declined' ? bob : alice, bob, ending === 'ends in a ban' ? 'ban' : 'leave')
      const { timeline, state_after } = (await device.next({ stateAfter: ['state_after'] })).rooms.leave[room.roomId]
      expect(keys(timeline.events)).toEqual([`m.room.member ${bob}`])
      expect(state_after.events.map(withoutUnsigned)).toEqual(timeline.events.map(withoutUnsigned))
    },
  )

  it.each([
    ['leave', 'ban'],
    ['ban', 'leave'],
  ])('shows after a %s the %s that followed it, without what happened in between', async (first, second) => {
    const { alice, bob, room, device } = await joinedPair()
    const { since } = device
    await setState(room, alice, 'm.room.topic', { topic: 'before' })
    await member(room, alice, bob, first)
    await setState(room, alice, 'm.room.topic', { topic: 'secret' })
    await member(room, alice, bob, second)
    const own = ({ events }: { events: { state_key: string; content: { membership: string } }[] }) =>
      events.flatMap(({ state_key, content }) => (state_key === bob ? [content.membership] : []))
    const initial = { since: undefined, json: { room: { include_leave: true } } }
    // With what the timeline leaves out, the state leads to the end of the time he was joined, and no further.
    const silent = { since, json: { room: { timeline: { limit: 0 } } } }
    for (const request of [{ since }, initial, silent]) {
      const before = (await device.next(request)).rooms.leave[room.roomId]
      expect(own(before.timeline).at(-1)).toBe(second)
      const after = (await device.next({ ...request, stateAfter: ['state_after'] })).rooms.leave[room.roomId]
      expect([own(after.timeline).at(-1), own(after.state_after)]).toEqual([second, [second]])
      for (const shown of [before, after]) {
        expect(JSON.stringify(shown)).toContain('before')
        expect(JSON.stringify(shown)).not.toContain('secret')
      }
    }
  })

  it('shows left rooms in an initial sync only to who asks for them, and no forgotten ones', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    await say(engine, room, alice, 'for bob')
    await member(room, bob, bob, 'leave')
    await say(engine, room, alice, 'not for bob')
    const declined = await testRoom(engine, alice)
    await member(declined, alice, bob, 'invite')
    await member(declined, bob, bob, 'leave')
    const json = { room: { include_leave: true } }
    expect((await new TestDevice(sync, bobName).next()).rooms).toBeUndefined()
    const { leave } = (await new TestDevice(sync, bobName).next({ json })).rooms
    expect(Object.keys(leave)).toEqual([room.roomId])
    expect(bodies(leave[room.roomId])).toEqual(['for bob'])
    await database.db.updateTable('membership').set({ forgotten: true }).where('user_id', '=', bob).execute()
    expect((await new TestDevice(sync, bobName).next({ json })).rooms).toBeUndefined()
  })

  it('shows an invite with its stripped state, and the end of it when it is declined', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const room = await testRoom(engine, alice, '11', [
      { type: 'm.room.name', stateKey: '', sender: alice, content: { name: 'Tea' } },
    ])
    const device = new TestDevice(sync, bobName)
    await device.next()
    await member(room, alice, bob, 'invite')
    const { invite } = (await device.next()).rooms
    expect(keys(invite[room.roomId].invite_state.events)).toEqual([
      'm.room.create',
      'm.room.join_rules',
      `m.room.member ${alice}`,
      `m.room.member ${bob}`,
      'm.room.name',
    ])
    expect((await new TestDevice(sync, bobName).next()).rooms.invite).toEqual(invite)
    expect((await device.next()).rooms).toBeUndefined()
    await setState(room, alice, 'm.room.topic', { topic: 'secret' })
    expect((await device.next()).rooms).toBeUndefined()
    await member(room, bob, bob, 'leave')
    const { leave } = (await device.next()).rooms
    expect(leave[room.roomId].timeline.events).toMatchObject([{ content: { membership: 'leave' } }])
    expect(leave[room.roomId].state.events).toEqual([])
    expect(JSON.stringify(leave)).not.toContain('secret')
  })

  it('shows a knock', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const room = await testRoom(engine, user(aliceName))
    await setState(room, user(aliceName), 'm.room.join_rules', { join_rule: 'knock' })
    const device = new TestDevice(sync, bobName)
    await device.next()
    await member(room, user(bobName), user(bobName), 'knock')
    const { knock } = (await device.next()).rooms
    expect(keys(knock[room.roomId].knock_state.events)).toContain('m.room.create')
  })

  it('keeps invites and knocks out of rooms that a filter does not want', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const [invited, knockedOn] = [await testRoom(engine, alice), await testRoom(engine, alice)]
    await member(invited, alice, bob, 'invite')
    await setState(knockedOn, alice, 'm.room.join_rules', { join_rule: 'knock' })
    await member(knockedOn, bob, bob, 'knock')
    const shown = async (room: JsonObject) => (await new TestDevice(sync, bobName).next({ json: { room } })).rooms
    expect(await shown({ rooms: [] })).toBeUndefined()
    expect(Object.keys(await shown({ not_rooms: [invited.roomId] }))).toEqual(['knock'])
    expect(Object.keys(await shown({ rooms: [invited.roomId] }))).toEqual(['invite'])
  })

  it('shows no invites and messages of ignored users, but their state', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const [room, other] = [await testRoom(engine, alice), await testRoom(engine, alice)]
    await join(engine, room, bob)
    const device = new TestDevice(sync, bobName)
    await device.next()
    const content = JSON.stringify({ ignored_users: { [alice]: {} } })
    await engine.writer.write([{ kind: 'account-data', room: 0, user: bob, type: 'm.ignored_user_list', content }])
    await say(engine, room, alice, 'unheard')
    await setState(room, alice, 'm.room.topic', { topic: 'Tea' })
    await member(other, alice, bob, 'invite')
    const { rooms } = await device.next()
    expect(keys(rooms.join[room.roomId].timeline.events)).toEqual(['m.room.topic'])
    expect(rooms.invite).toBeUndefined()
  })
})

describe('lazy-loading of members', () => {
  const json = { room: { state: { lazy_load_members: true }, timeline: { limit: 2 } } }

  it('gives the members who speak, the own one, and heroes at first; then those who speak, once', async () => {
    const aliceName = someone('alice')
    const [alice, bob, carol, dave] = [user(aliceName), ...['bob', 'carol', 'dave'].map((name) => user(someone(name)))]
    const room = await testRoom(engine, alice)
    await setState(room, alice, 'm.room.name', { name: 'Tea' })
    for (const one of [bob, carol, dave]) await join(engine, room, one!)
    for (const body of ['1', '2']) await say(engine, room, bob!, body)
    const device = new TestDevice(sync, aliceName)
    const first = (await device.next({ json })).rooms.join[room.roomId]
    const members = (shown: { state: { events: { type: string; state_key: string }[] } }) =>
      shown.state.events.filter(({ type }) => type === 'm.room.member').map(({ state_key }) => state_key)
    expect(members(first).sort()).toEqual([alice, bob])
    await say(engine, room, carol!, '3')
    expect(members((await device.next({ json })).rooms.join[room.roomId])).toEqual([carol])
    const before = device.since
    await say(engine, room, carol!, '4')
    expect(members((await device.next({ json })).rooms.join[room.roomId])).toEqual([])
    // An answer that did not arrive is asked for again by the token before it.
    await say(engine, room, dave!, '5')
    expect(members((await device.next({ json })).rooms.join[room.roomId])).toEqual([dave])
    expect(members((await device.next({ json, since: before })).rooms.join[room.roomId])).toEqual([dave])
  })

  it.each(['begins anew', 'comes into the room again'])('gives a client that %s who speaks again', async (how) => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const room = await testRoom(engine, bob)
    await setState(room, bob, 'm.room.name', { name: 'Tea' })
    await join(engine, room, alice)
    await say(engine, room, bob, '1')
    const device = new TestDevice(sync, aliceName)
    await device.next({ json })
    await member(room, alice, alice, 'leave')
    if (how === 'comes into the room again') await device.next({ json })
    await join(engine, room, alice)
    for (const body of ['2', '3']) await say(engine, room, alice, body)
    const anew = (await device.next({ json, ...(how === 'begins anew' && { since: undefined }) })).rooms.join
    expect(keys(anew[room.roomId].state.events)).not.toContain(`m.room.member ${bob}`)
    await say(engine, room, bob, '4')
    const shown = (await device.next({ json })).rooms.join[room.roomId]
    expect(keys(shown.state.events)).toEqual([`m.room.member ${bob}`])
  })

  it('gives all that changed of members in a gap', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const room = await testRoom(engine, alice)
    const device = new TestDevice(sync, aliceName)
    await device.next({ json })
    await join(engine, room, bob)
    for (const body of ['1', '2', '3']) await say(engine, room, alice, body)
    const shown = (await device.next({ json })).rooms.join[room.roomId]
    expect(keys(shown.state.events)).toContain(`m.room.member ${bob}`)
  })

  it('gives the heroes of a room without a name', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const room = await testRoom(engine, user(aliceName))
    await join(engine, room, user(bobName))
    for (const body of ['1', '2']) await say(engine, room, user(aliceName), body)
    const shown = (await new TestDevice(sync, aliceName).next({ json })).rooms.join[room.roomId]
    expect(shown.summary['m.heroes']).toEqual([user(bobName)])
    expect(keys(shown.state.events)).toContain(`m.room.member ${user(bobName)}`)
  })

  it.each(['at once', 'behind a gap'])('gives the heroes of a room whose name is redacted, %s', async (when) => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    const { event } = await setState(room, alice, 'm.room.name', { name: 'Tea' })
    for (const body of ['1', '2']) await say(engine, room, alice, body)
    const device = new TestDevice(sync, aliceName)
    await device.next({ json })
    const { since } = device
    const redacts = event.eventId
    await engine.rooms.send(room, { type: 'm.room.redaction', sender: alice, content: { redacts }, redacts })
    if (when === 'behind a gap') for (let i = 0; i < 10; i++) await say(engine, room, alice, String(i))
    const second = await testRooms(database)
    const { sync: cold } = testSync(database, second)
    for (const one of [device, new TestDevice(cold, aliceName, device.requester.device)]) {
      const shown = (await one.next({ json, since })).rooms.join[room.roomId]
      expect(shown.summary['m.heroes']).toEqual([bob])
      expect(keys(shown.state.events)).toContain(`m.room.member ${bob}`)
    }
    cold.close()
    await second.close()
  })
})

describe('below the horizon of the log', () => {
  it('answers the same from the tables as from memory', async () => {
    const [aliceName, bobName] = [someone('alice'), someone('bob')]
    const [alice, bob] = [user(aliceName), user(bobName)]
    const [room, left, other] = [
      await testRoom(engine, alice),
      await testRoom(engine, alice),
      await testRoom(engine, alice),
    ]
    for (const one of [room, left]) await join(engine, one, bob)
    const device = new TestDevice(sync, bobName)
    await device.next()
    const { since } = device
    await setState(room, alice, 'm.room.topic', { topic: 'Tea' })
    for (let i = 0; i < 5; i++) await say(engine, room, alice, String(i))
    await say(engine, left, alice, 'bye')
    await member(left, alice, bob, 'leave')
    await say(engine, left, alice, 'secret')
    await member(other, alice, bob, 'invite')
    const json = { room: { timeline: { limit: 3 } } }
    // The order of keys tells whether an event was read back from its canonical text.
    const withoutTime = (answer: object): unknown =>
      JSON.parse(JSON.stringify(answer, (key, value: unknown) => (key === 'age' || key === 'next_batch' ? 0 : value)))
    const fromMemory = await device.next({ json, since })
    const second = await testRooms(database)
    const { sync: cold } = testSync(database, second)
    const fromTables = await new TestDevice(cold, bobName).next({ json, since })
    expect(withoutTime(fromTables)).toEqual(withoutTime(fromMemory))
    expect(bodies(fromTables.rooms.leave[left.roomId])).toEqual(['bye'])
    cold.close()
    await second.close()
  })
})
