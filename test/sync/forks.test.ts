/** Syncs of rooms whose current state does not follow from their timeline. What state resolution would tell is told by hand. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import type { JsonObject } from '../../src/protocol/json.js'
import type { EventNumber, Position, StateReference } from '../../src/protocol/numbers.js'
import type { Membership } from '../../src/store/facts.js'
import type { RoomName } from '../../src/store/room-names.js'
import { stateEvents } from '../../src/store/state-events.js'
import type { StoredEvent } from '../../src/store/stored-event.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'
import { bodies, testSync, TestDevice } from './device.js'

const database = await testDatabase()
const { db } = database
const engine = await testRooms(database)
const { stores, rooms } = engine
const { sync } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await engine.close()
})

let people = 0
const someone = (name: string) => `${name}${people++}`
const send = (room: RoomName, sender: string, type: string, content: JsonObject, stateKey = '') =>
  rooms.send(room, { type, stateKey, sender, content })

/** An event on a branch: as one that was sent, with another content, standing on another state. */
interface ByHand {
  readonly like: StoredEvent
  readonly content: JsonObject
  readonly stateBefore?: StateReference
  /** The current state afterwards, when it changed. */
  readonly current?: StateReference
  readonly memberships?: readonly { user: string; membership: Membership; event: StoredEvent }[]
  readonly isAfterGap?: boolean
}

let made = 900_000_000

/** Writes what the engine of another process would when this event arrives; this process hears of it. */
async function arrive(room: RoomName, { like, content, current, memberships = [], ...given }: ByHand) {
  const number = made++ as EventNumber
  const eventId = `$by-hand-${number}`
  const prevEvents = given.isAfterGap === true ? ['$lost', ...like.event.prevEvents] : like.event.prevEvents
  const body = JSON.stringify({ ...like.event.pdu, content, prev_events: prevEvents })
  const stateBefore = given.stateBefore ?? like.stateBefore!
  const before = (await rooms.head(room)).head.state
  await db.transaction().execute(async (trx) => {
    const { rows } = await sql<{ position: Position }>`select nextval('log_position') as position`.execute(trx)
    const { position } = rows[0]!
    await sql`
      insert into event (room, event, event_id, type, state_key, sender, origin_server_ts, depth, position, anchor, minor,
        prev_events, auth_events, auth_depth, state_before)
      select room, ${number}, ${eventId}, type, state_key, sender, origin_server_ts, depth, ${position}, ${position}, 0,
        prev_events, auth_events, auth_depth, ${stateBefore}
      from event where room = ${room.room} and event = ${like.number}`.execute(trx)
    await trx.insertInto('event_text').values({ room: room.room, event: number, body }).execute()
    if (current !== undefined) {
      const change = { room: room.room, position, state_before: before, state_after: current, cause: number }
      await trx.insertInto('state_change').values(change).execute()
      await trx.updateTable('room').set({ state: current }).where('room', '=', room.room).execute()
    }
    for (const { user: userId, membership, event } of memberships) {
      await sql`
        insert into past_membership select room, user_id, position, ${position}, membership, event from membership
        where room = ${room.room} and user_id = ${userId}`.execute(trx)
      await sql`
        update membership set membership = ${membership}, event = ${event.number}, position = ${position}
        where room = ${room.room} and user_id = ${userId}`.execute(trx)
    }
  })
  await engine.catchUp()
  return eventId
}

const message = (body: string) => ({ msgtype: 'm.text', body })

interface Section {
  readonly state?: { readonly events: readonly Shown[] }
  readonly state_after?: { readonly events: readonly Shown[] }
  readonly timeline: { readonly events: readonly Shown[]; readonly limited: boolean; readonly prev_batch: string }
}
interface Shown {
  readonly event_id: string
  readonly type: string
  readonly state_key?: string
  readonly content: JsonObject
}

/** A client that does as the specification says: the state, then the timeline; or `state_after`, and nothing else. */
class Client {
  readonly state = new Map<string, string>()

  take(section: Section | undefined): void {
    if (section === undefined) return
    const events = section.state_after?.events ?? [...section.state!.events, ...section.timeline.events]
    for (const { type, state_key: key, event_id: id } of events)
      if (key !== undefined) this.state.set(`${type} ${key}`, id)
  }
}

/** Where a client that read on each of these ways has to end. */
async function currentState(room: RoomName) {
  const { head } = await rooms.head(room)
  const events = await stateEvents(stores, room.room, head.state)
  return Object.fromEntries(events.map(({ event }) => [`${event.type} ${event.stateKey}`, event.eventId]).sort())
}

type Way = 'from memory' | 'from the tables'
const ways: Way[] = ['from memory', 'from the tables']

/** A device that goes on, in this process or in one that has just started. */
async function at<T>(way: Way, device: TestDevice, task: () => Promise<T>): Promise<T> {
  if (way === 'from memory') return task()
  const other = await testRooms(database)
  const fresh = testSync(database, other)
  device.sync = fresh.sync
  try {
    return await task()
  } finally {
    device.sync = sync
    fresh.sync.close()
    await other.close()
  }
}

async function setting() {
  const [aliceName, bobName] = [someone('alice'), someone('bob')]
  const [alice, bob] = [user(aliceName), user(bobName)]
  const room = await testRoom(engine, alice)
  await join(engine, room, bob)
  const device = new TestDevice(sync, aliceName)
  const client = new Client()
  client.take((await device.next()).rooms.join[room.roomId])
  return { alice, bob, bobName, room, device, client }
}

describe.each(ways)('read %s', (way) => {
  it('a state event that lost is not taken for current, and is found by who pages back', async () => {
    const { alice, room, device, client } = await setting()
    const said = await say(engine, room, alice, 'first')
    const won = await send(room, alice, 'm.room.topic', { topic: 'won' })
    await arrive(room, { like: won, content: { topic: 'lost' } })
    await arrive(room, { like: said, content: message('last') })
    const { [room.roomId]: shown } = (await at(way, device, () => device.next())).rooms.join
    client.take(shown)
    expect(Object.fromEntries(client.state)).toEqual(await currentState(room))
    expect(shown.timeline.limited).toBe(true)
    expect(bodies(shown)).toEqual(['last'])
  })

  it('a state event that lost alone makes a gap and no state', async () => {
    const { alice, room, device, client } = await setting()
    const won = await send(room, alice, 'm.room.topic', { topic: 'won' })
    client.take((await device.next()).rooms.join[room.roomId])
    await arrive(room, { like: won, content: { topic: 'lost' } })
    const { [room.roomId]: shown } = (await at(way, device, () => device.next())).rooms.join
    client.take(shown)
    expect(Object.fromEntries(client.state)).toEqual(await currentState(room))
    expect(shown.timeline).toMatchObject({ events: [], limited: true })
  })

  it('who uses state_after sees all events and the state at the end', async () => {
    const { alice, room, device, client } = await setting()
    const won = await send(room, alice, 'm.room.topic', { topic: 'won' })
    const lost = await arrive(room, { like: won, content: { topic: 'lost' } })
    const request = { stateAfter: ['state_after' as const] }
    const { [room.roomId]: shown } = (await at(way, device, () => device.next(request))).rooms.join
    client.take(shown)
    expect(Object.fromEntries(client.state)).toEqual(await currentState(room))
    const ids = shown.timeline.events.map(({ event_id }: Shown) => event_id)
    expect(ids).toEqual([won.event.eventId, lost])
    expect(shown.timeline.limited).toBe(false)
  })

  it('what an event of another kind changed is in the state', async () => {
    const { alice, room, device, client } = await setting()
    const said = await say(engine, room, alice, 'first')
    const old = await send(room, alice, 'm.room.topic', { topic: 'old' })
    await send(room, alice, 'm.room.topic', { topic: 'new' })
    client.take((await device.next()).rooms.join[room.roomId])
    await arrive(room, { like: said, content: message('merges'), current: old.stateAfter! })
    const { [room.roomId]: shown } = (await at(way, device, () => device.next())).rooms.join
    client.take(shown)
    expect(bodies(shown)).toEqual(['merges'])
    expect(shown.timeline.limited).toBe(false)
    expect(shown.state.events).toMatchObject([{ type: 'm.room.topic', content: { topic: 'old' } }])
    expect(Object.fromEntries(client.state)).toEqual(await currentState(room))
  })

  it('a change that is taken back within one answer ends where it began', async () => {
    const { alice, room, device, client } = await setting()
    const said = await say(engine, room, alice, 'first')
    const old = await send(room, alice, 'm.room.topic', { topic: 'old' })
    client.take((await device.next()).rooms.join[room.roomId])
    await send(room, alice, 'm.room.topic', { topic: 'new' })
    await arrive(room, { like: said, content: message('merges'), current: old.stateAfter! })
    const { [room.roomId]: shown } = (await at(way, device, () => device.next())).rooms.join
    client.take(shown)
    expect(bodies(shown)).toEqual(['merges'])
    expect(Object.fromEntries(client.state)).toEqual(await currentState(room))
  })

  it('a ban that takes effect late is told to the banned in the state of a room they left', async () => {
    const { alice, bob, bobName, room, device } = await setting()
    const said = await say(engine, room, alice, 'first')
    const joined = (await rooms.currentState(room, 'm.room.member', bob))!
    const ban = await rooms.changeMembership(room, alice, bob, { membership: 'ban', reason: 'late' })
    // A branch on which they were not banned wins for a while.
    const back = { user: bob, membership: 'join' as const, event: joined }
    await arrive(room, { like: said, content: message('1'), current: ban.stateBefore!, memberships: [back] })
    const bobs = new TestDevice(sync, bobName)
    expect(Object.keys((await bobs.next()).rooms.join)).toEqual([room.roomId])
    await device.next()
    const out = { user: bob, membership: 'ban' as const, event: ban }
    await arrive(room, { like: said, content: message('2'), current: ban.stateAfter!, memberships: [out] })
    await arrive(room, { like: said, content: message('3'), stateBefore: ban.stateAfter! })
    const { [room.roomId]: shown } = (await at(way, bobs, () => bobs.next())).rooms.leave
    expect(shown.state.events).toMatchObject([{ state_key: bob, content: { membership: 'ban', reason: 'late' } }])
    expect(bodies(shown)).toEqual(['2'])
    const answer = await at(way, device, () => device.next())
    expect(answer.rooms.join[room.roomId].state.events).toMatchObject([
      { state_key: bob, content: { membership: 'ban' } },
    ])
    expect(answer.device_lists).toEqual({ changed: [], left: [bob] })
  })

  it('of a sender on an old branch the membership is the current one, lazily loaded', async () => {
    const { alice, bob, room, device } = await setting()
    const before = await say(engine, room, bob, 'under the old name')
    await send(room, bob, 'm.room.member', { membership: 'join', displayname: 'New' }, bob)
    await send(room, alice, 'm.room.topic', { topic: 'Tea' })
    await device.next()
    await arrive(room, { like: before, content: message('late') })
    const json = { room: { state: { lazy_load_members: true } } }
    const { [room.roomId]: shown } = (await at(way, device, () => device.next({ json }))).rooms.join
    expect(bodies(shown)).toEqual(['late'])
    expect(shown.state.events).toMatchObject([{ state_key: bob, content: { displayname: 'New' } }])
  })

  it('a room that loses its name by a resolution is named by its heroes', async () => {
    const { alice, bob, room, device } = await setting()
    const said = await say(engine, room, alice, 'first')
    const named = await send(room, alice, 'm.room.name', { name: 'Tea' })
    await device.next()
    await db.updateTable('room_summary').set({ name: null }).where('room', '=', room.room).execute()
    await arrive(room, { like: said, content: message('merges'), current: named.stateBefore! })
    const { [room.roomId]: shown } = (await at(way, device, () => device.next())).rooms.join
    expect(shown.summary).toMatchObject({ 'm.heroes': [bob] })
  })

  it('a timeline begins after a gap', async () => {
    const { alice, room, device, client } = await setting()
    const said = await say(engine, room, alice, 'before the gap')
    await send(room, alice, 'm.room.topic', { topic: 'Tea' })
    const { stateAfter } = await say(engine, room, alice, 'and this')
    await arrive(room, { like: said, content: message('after'), stateBefore: stateAfter!, isAfterGap: true })
    await arrive(room, { like: said, content: message('last'), stateBefore: stateAfter! })
    const { [room.roomId]: shown } = (await at(way, device, () => device.next())).rooms.join
    client.take(shown)
    expect(bodies(shown)).toEqual(['after', 'last'])
    expect(shown.timeline.limited).toBe(true)
    expect(Object.fromEntries(client.state)).toEqual(await currentState(room))
  })
})
