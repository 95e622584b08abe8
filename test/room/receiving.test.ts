/** Events of other servers taken into rooms of the engine: their fates, and what they do to the head. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import type { Arrival, Received } from '../../src/room/arrival.js'
import type { RoomName } from '../../src/store/room-names.js'
import {
  alice,
  bob,
  carol,
  labRoom,
  type Branch,
  type LabEvent,
  type LabRoomOptions,
} from '../support/laboratory/index.js'
import { testDatabase } from '../support/postgres.js'
import { join as joinAs, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { rooms, stores } = engine
afterAll(() => engine.close())

let made = 0
const arrivalOf = ({ event, text }: LabEvent, more: Partial<Arrival> = {}): Arrival => ({
  event,
  text,
  kind: 'live',
  ...more,
})

/** The lab room and this server's copy of it as far as it goes. */
async function copied(options: LabRoomOptions = {}): Promise<{ lab: Branch; name: RoomName }> {
  const lab = labRoom({ name: `r${made}`, create: { made: made++ }, members: [bob, carol], ...options })
  const name = await rooms.adopt(arrivalOf(lab.events[0]!), lab.rules.version)
  for (const result of await rooms.receiveAll(
    name,
    lab.events.slice(1).map((event) => arrivalOf(event)),
  )) {
    expect(result).toMatchObject({ status: 'fulfilled', value: { event: { fate: 'accepted' } } })
  }
  return { lab, name }
}

const receive = (name: RoomName, event: LabEvent, more: Partial<Arrival> = {}) =>
  rooms.receive(name, arrivalOf(event, more))
const fateOf = ({ event: { fate, reason } }: Received) => (reason === undefined ? fate : `${fate}: ${reason}`)
const extremities = async (name: RoomName) =>
  (await rooms.head(name)).extremities.map(({ event }) => event.eventId).sort()
const ids = (...events: LabEvent[]) => events.map(({ eventId }) => eventId).sort()
const topic = async (name: RoomName) => (await rooms.currentState(name, 'm.room.topic', ''))?.event.content.topic

describe('an event of another server', () => {
  it.each(roomVersionNames)('becomes the forward extremity of a room of version %s', async (version) => {
    const { lab, name } = await copied({ version })
    const said = lab.say(bob, 'hello')
    expect(await receive(name, said)).toMatchObject({ kind: 'stored', event: { fate: 'accepted' } })
    expect(await extremities(name)).toEqual(ids(said))
    const set = lab.topic(alice, 'tea')
    await receive(name, set)
    expect(await topic(name)).toBe('tea')
    expect(await rooms.summary(name)).toMatchObject({ topic: 'tea', joined_members: 3, join_rule: 'public' })
  })

  it('is answered by the next event of ours', async () => {
    const { lab, name } = await copied()
    const [left, right] = lab.fork() as [Branch, Branch]
    const both = [left.say(bob, 'left'), right.say(carol, 'right')]
    for (const event of both) await receive(name, event)
    expect(await extremities(name)).toEqual(ids(...both))
    const ours = await joinAs(engine, name, user('me'))
    expect(ours.event.prevEvents.toSorted()).toEqual(ids(...both))
    expect(ours.event.depth).toBe(Math.max(...both.map(({ event }) => event.depth)) + 1)
    expect(await extremities(name)).toEqual([ours.event.eventId])
  })

  it('is known the second time', async () => {
    const { lab, name } = await copied()
    const said = lab.say(bob, 'once')
    const both = await Promise.all([receive(name, said), receive(name, said)])
    expect(both.map(({ kind }) => kind).sort()).toEqual(['known', 'stored'])
    expect((await receive(name, said)).kind).toBe('known')
  })

  it('waits for prev events and auth events that are not here', async () => {
    const { lab, name } = await copied()
    const first = lab.say(bob, 'first')
    const second = lab.say(bob, 'second')
    await expect(receive(name, second)).rejects.toMatchObject({ edge: 'prev', missing: [first.eventId] })
    const results = await rooms.receiveAll(name, [arrivalOf(first), arrivalOf(second)])
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
    expect(await extremities(name)).toEqual(ids(second))
  })

  it('is rejected for its auth events, and its children count through it', async () => {
    const { lab, name } = await copied()
    const refused = lab.attempt(bob, { type: 'm.room.topic', stateKey: '', content: { topic: 'mine' } })
    expect(fateOf(await receive(name, refused))).toMatch(/^rejected: .*level/)
    expect(await extremities(name)).toEqual(ids(...lab.tips))
    const child = lab.attempt(alice, { type: 'm.room.message', content: { body: 'on it' }, prevEvents: [refused] })
    expect(fateOf(await receive(name, child))).toBe('accepted')
    expect(await extremities(name)).toEqual(ids(child))
    expect(await topic(name)).toBeUndefined()
  })

  it('is rejected for the state before it, whatever it names as its auth events', async () => {
    const { lab, name } = await copied()
    const joined = lab.stateEvent('m.room.member', bob)!
    const old = [lab.stateEvent('m.room.create')!, lab.stateEvent('m.room.power_levels')!, joined]
    await receive(name, lab.ban(alice, bob))
    const late = lab.attempt(bob, { type: 'm.room.message', content: {}, authEvents: old })
    expect(fateOf(await receive(name, late))).toMatch(/^rejected: the sender is not joined/)
  })

  it('is soft-failed when only the current state forbids it, and is no extremity', async () => {
    const { lab, name } = await copied()
    const [left, right] = lab.fork() as [Branch, Branch]
    const ban = left.ban(alice, bob)
    await receive(name, ban)
    const evading = right.say(bob, 'I did not know')
    expect(fateOf(await receive(name, evading))).toMatch(/^soft-failed: the sender is not joined/)
    expect(await extremities(name)).toEqual(ids(ban))
    const stored = await stores.events.byId(name.room, evading.eventId)
    expect(stored).toMatchObject({ position: undefined, anchor: undefined, fate: 'soft-failed' })
  })

  it('is soft-failed when the policy server does not recommend it', async () => {
    const { lab, name } = await copied()
    const spam = await receive(name, lab.say(bob, 'spam'), { policy: { allowed: false, reason: 'policy server' } })
    expect(fateOf(spam)).toBe('soft-failed: policy server')
  })

  it('that comes after its child is no extremity, and ends those behind it', async () => {
    const { lab, name } = await copied()
    const [side] = lab.fork(1) as [Branch]
    const parent = lab.say(bob, 'parent')
    const child = lab.say(bob, 'child')
    const state = await stateNumbers(name)
    await receive(name, child, { stateAfter: new Map([[parent.eventId, state]]) })
    expect(await extremities(name)).toEqual(ids(...side.tips, child))
    await receive(name, parent)
    expect(await extremities(name)).toEqual(ids(child))
  })

  it('is an outlier until the state before it is known', async () => {
    const { lab, name } = await copied()
    const joined = lab.join('@frank:four.example')
    const first = await receive(name, joined, { kind: 'outlier' })
    expect(first.event).toMatchObject({ fate: 'accepted', stateBefore: undefined, position: undefined })
    expect(await rooms.membership(name, '@frank:four.example')).toBeUndefined()
    expect((await receive(name, joined, { kind: 'outlier' })).kind).toBe('known')
    const then = await receive(name, joined)
    expect(then).toMatchObject({ kind: 'stored', event: { number: first.event.number, fate: 'accepted' } })
    expect(await rooms.membership(name, '@frank:four.example')).toBe('join')
    stores.memory.events.clear()
    const again = await stores.events.byId(name.room, joined.eventId)
    expect(again).toMatchObject({ number: first.event.number, position: then.event.position })
  })
})

describe('a redaction of another server', () => {
  it.each(roomVersionNames)('takes the content of an event, whichever came first, in version %s', async (version) => {
    for (const isFirst of [true, false]) {
      const { lab, name } = await copied({ version })
      const said = lab.say(bob, 'secret')
      const [branch] = lab.fork(1) as [Branch]
      const redaction = branch.redact(alice, said)
      const told = new Map([[said.eventId, await stateNumbers(name)]])
      if (isFirst) await receive(name, redaction, { stateAfter: told })
      await receive(name, said)
      if (!isFirst) await receive(name, redaction)
      const cached = await stores.events.byId(name.room, said.eventId)
      stores.memory.events.clear()
      const stored = await stores.events.byId(name.room, said.eventId)
      for (const event of [cached, stored]) {
        expect(event).toMatchObject({ fate: 'accepted', event: { content: {} } })
        expect(event?.text).not.toContain('secret')
        expect(event?.redactedBy).toBeDefined()
      }
      const { rows } = await sql`select * from waiting_redaction`.execute(database.db)
      expect(rows).toEqual([])
    }
  })

  it('by somebody without the level has no effect', async () => {
    const { lab, name } = await copied()
    const said = lab.say(alice, 'stays')
    await receive(name, said)
    const redaction = lab.attempt(carol, { type: 'm.room.redaction', redacts: said.eventId })
    await receive(name, redaction)
    expect((await stores.events.byId(name.room, said.eventId))?.event.content.body).toBe('stays')
  })

  it('never takes anything from the create event', async () => {
    const { lab, name } = await copied({ version: '10', create: { 'm.federate': true } })
    const redaction = lab.attempt(alice, { type: 'm.room.redaction', redacts: lab.events[0]!.eventId })
    await receive(name, redaction)
    expect((await rooms.head(name)).create?.event.content).toHaveProperty('room_version', '10')
  })
})

/** The current state as the numbers of its events. */
async function stateNumbers(name: RoomName) {
  const { head } = await rooms.head(name)
  const { entries } = await import('../../src/protocol/state-trie.js')
  const all = await stores.states.work(name.room, (segments) => entries(segments, head.state))
  return all.map(([, event]) => event)
}
