import { afterAll, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import type { JsonObject } from '../../src/protocol/json.js'
import { userReader, type Reader } from '../../src/room/gate.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import { forget } from '../../src/store/memberships.js'
import type { RoomName } from '../../src/store/room-names.js'
import type { StoredEvent } from '../../src/store/stored-event.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { gate, rooms } = engine
afterAll(() => engine.close())
const as = (userId: string): Reader => userReader({ userId })
const [alice, bob, carol] = [user('alice'), user('bob'), user('carol')]
const refused = { errcode: 'M_FORBIDDEN' }

const visibility = (room: RoomName, history_visibility: string) =>
  rooms.send(room, { type: 'm.room.history_visibility', stateKey: '', sender: alice, content: { history_visibility } })
const member = (room: RoomName, sender: string, target: string, membership: string) =>
  rooms.changeMembership(room, sender, target, { membership })
const sees = async (room: RoomName, reader: Reader, event: StoredEvent) =>
  (await gate.readable(room, reader, [event])).length === 1

/** Somebody of another server, put into the room by hand: joined, invited or gone. */
async function remote(room: RoomName, userId: string, ...memberships: string[]) {
  let event: StoredEvent | undefined
  for (const membership of memberships) {
    const content: JsonObject = { membership }
    const sender = membership === 'invite' ? alice : userId
    event = await rooms.send(room, { type: 'm.room.member', stateKey: userId, sender, content })
  }
  return event
}

describe('the state of a room in the past', () => {
  it('is for who was in it then, or joined since, and not for everybody where all may read only now', async () => {
    const room = await testRoom(engine, alice)
    const then = engine.log.published
    await visibility(room, 'world_readable')
    const now = engine.log.published
    await join(engine, room, carol)
    await expect(gate.stateAt(room, as(bob), then)).rejects.toMatchObject(refused)
    expect(await gate.stateAt(room, as(bob), now)).toBeDefined()
    expect(await gate.stateAt(room, as(alice), then)).toBeDefined()
    expect(await gate.stateAt(room, as(carol), then)).toBeDefined()
    await member(room, carol, carol, 'leave')
    const left = engine.log.published
    expect(await gate.stateAt(room, as(carol), then)).toBeDefined()
    await visibility(room, 'shared')
    // What came after their leaving is not theirs: they get the state as they left it.
    const last = await gate.stateAt(room, as(carol), engine.log.published)
    expect(last).toBe(await gate.stateAt(room, as(alice), left))
  })
})

describe('an event', () => {
  it('is hidden from who was away when it was sent, unless history is shared and they come back', async () => {
    for (const [value, afterwards] of [
      ['joined', false],
      ['invited', false],
      ['shared', true],
      ['nonsense', true],
    ] as const) {
      const room = await testRoom(engine, alice)
      await visibility(room, value)
      await join(engine, room, bob)
      await member(room, bob, bob, 'leave')
      const missed = await say(engine, room, alice, 'bob is away')
      expect([value, await sees(room, as(bob), missed)]).toEqual([value, false])
      await join(engine, room, bob)
      expect([value, await sees(room, as(bob), missed)]).toEqual([value, afterwards])
    }
  })

  it('is for the invited only where it says so, and a ban ends it', async () => {
    const room = await testRoom(engine, alice)
    await visibility(room, 'invited')
    await member(room, alice, bob, 'invite')
    const first = await say(engine, room, alice, 'welcome')
    await member(room, alice, bob, 'ban')
    const second = await say(engine, room, alice, 'gone')
    expect(await sees(room, as(bob), first)).toBe(true)
    expect(await sees(room, as(bob), second)).toBe(false)
  })

  it('is for guests and strangers where everybody may read, and nothing else is', async () => {
    const room = await testRoom(engine, alice)
    const before = await say(engine, room, alice, 'members only')
    const opened = await visibility(room, 'world_readable')
    const open = await say(engine, room, alice, 'for all')
    const closed = await visibility(room, 'joined')
    const after = await say(engine, room, alice, 'members only again')
    for (const reader of [as(bob), { kind: 'guest', userId: user('guest1') } as const]) {
      const readable = await gate.readable(room, reader, [before, opened, open, closed, after])
      expect(readable).toEqual([opened, open, closed])
    }
  })

  it('is shown to nobody when it was rejected or its state is not known, and to no client when it was soft-failed', async () => {
    const room = (await testRoom(engine, alice)) as KnownRoom
    const event = await say(engine, room, alice, 'hello')
    const server: Reader = { kind: 'server', server: 'hearth.test' }
    for (const [reader, softFailed] of [
      [as(alice), false],
      [server, true],
    ] as const) {
      expect(await sees(room, reader, event)).toBe(true)
      expect(await sees(room, reader, { ...event, fate: 'rejected' })).toBe(false)
      expect(await sees(room, reader, { ...event, fate: 'soft-failed' })).toBe(softFailed)
      expect(await sees(room, reader, { ...event, stateBefore: undefined, stateAfter: undefined })).toBe(false)
    }
    expect(await gate.pdus(room, 'hearth.test', [{ ...event, fate: 'rejected' }])).toEqual([])
  })

  it('fetched later is shared with who was there where the gap ends', async () => {
    const room = await testRoom(engine, alice)
    const old = await say(engine, room, alice, 'old')
    await join(engine, room, bob)
    const left = await member(room, bob, bob, 'leave')
    const history = { ...old, position: undefined, anchor: left.position, minor: -1 }
    expect(await sees(room, as(bob), history)).toBe(true)
    expect(await sees(room, as(bob), { ...history, minor: 0 })).toBe(false)
    expect(await sees(room, as(carol), history)).toBe(false)
  })
})

describe('who forgot a room', () => {
  it('has no more right to it than a stranger until they come back', async () => {
    const room = await testRoom(engine, alice)
    await join(engine, room, bob)
    const mine = await say(engine, room, bob, 'I was here')
    const leaving = await member(room, bob, bob, 'leave')
    expect(await sees(room, as(bob), leaving)).toBe(true)
    await forget(database.db, room.room, bob)
    expect(await gate.readable(room, as(bob), [mine, leaving])).toEqual([])
    await expect(gate.state(room, as(bob))).rejects.toMatchObject(refused)
    await visibility(room, 'world_readable')
    const open = await say(engine, room, alice, 'for all')
    expect(await gate.readable(room, as(bob), [mine, open])).toEqual([open])
    await visibility(room, 'shared')
    await join(engine, room, bob)
    expect(await gate.readable(room, as(bob), [mine, leaving])).toEqual([mine, leaving])
  })
})

describe('a server', () => {
  const server = (name: string): Reader => ({ kind: 'server', server: name })

  it('sees what any of its users may', async () => {
    const room = await testRoom(engine, alice)
    await visibility(room, 'joined')
    const before = await say(engine, room, alice, 'before')
    await remote(room, '@rita:remote.test', 'join')
    const during = await say(engine, room, alice, 'during')
    await remote(room, '@rita:remote.test', 'leave')
    await remote(room, '@rob:remote.test', 'invite')
    const away = await say(engine, room, alice, 'away')
    const events = [before, during, away]
    expect(await gate.readable(room, server('remote.test'), events)).toEqual([during])
    expect(await gate.readable(room, server('other.test'), events)).toEqual([])
    expect(await gate.readable(room, server('emote.test'), events)).toEqual([])
    await visibility(room, 'invited')
    const invited = await say(engine, room, alice, 'for the invited')
    expect(await sees(room, server('remote.test'), invited)).toBe(true)
  })

  it('sees shared history when one of its users joined since', async () => {
    const room = await testRoom(engine, alice)
    const shared = await say(engine, room, alice, 'shared')
    expect(await sees(room, server('remote.test'), shared)).toBe(false)
    await remote(room, '@rita:remote.test', 'join', 'leave')
    expect(await sees(room, server('remote.test'), shared)).toBe(true)
    expect(await sees(room, server('other.test'), shared)).toBe(false)
  })

  it('gets what it may not see redacted, edges and hashes included', async () => {
    const room = (await testRoom(engine, alice)) as KnownRoom
    await visibility(room, 'joined')
    const secret = await say(engine, room, alice, 'secret')
    await remote(room, '@rita:remote.test', 'join')
    const open = await say(engine, room, alice, 'open')
    const [redacted, whole] = await gate.pdus(room, 'remote.test', [secret, open])
    expect(whole).toBe(open.text)
    const { content, ...rest } = JSON.parse(secret.text) as { content: unknown }
    expect(content).toMatchObject({ body: 'secret' })
    expect(JSON.parse(redacted!)).toEqual({ ...rest, content: {} })
  })

  it('is judged without a look at all members when one of its users is there', async () => {
    const room = await testRoom(engine, alice)
    await visibility(room, 'joined')
    await remote(room, '@rita:remote.test', 'join')
    const event = await say(engine, room, alice, 'hello')
    // Without the names of state keys nobody can be found by looking at all of them.
    await sql`alter table state_key rename to state_key_away`.execute(database.db)
    try {
      expect(await sees(room, server('remote.test'), event)).toBe(true)
    } finally {
      await sql`alter table state_key_away rename to state_key`.execute(database.db)
    }
  })
})
