/** What clients are shown of events that other servers sent, in whatever order these came. */
import { afterAll, describe, expect, it } from '@jest/globals'
import type { KnownRoom } from '../../src/room/known-room.js'
import { alice, type Branch, labRoom, type LabEvent } from '../support/laboratory/index.js'
import { testDatabase } from '../support/postgres.js'
import { testRooms, user } from '../support/rooms.js'
import { testSync, TestDevice } from './device.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { rooms, stores } = engine
const { sync } = testSync(database, engine)
afterAll(async () => {
  sync.close()
  await engine.close()
})
const bob = user('bob')
let names = 0

/** The room is here as far as it was told, and bob is in it. */
async function received(version = '11'): Promise<{ room: Branch; name: KnownRoom }> {
  const room = labRoom({ version, name: `received${names++}`, members: [bob] })
  const [create, ...rest] = room.events
  const name = (await rooms.adopt({ event: create!.event, text: create!.text, kind: 'live' }, version)) as KnownRoom
  for (const event of rest) await receive(name, event)
  return { room, name }
}

const receive = (name: KnownRoom, { event, text }: LabEvent) => rooms.receive(name, { event, text, kind: 'live' })

describe('a redaction that came before what it redacts', () => {
  it.each(['1', '9', '11', '12'])('leaves nothing of it to be shown in room version %s', async (version) => {
    const { room, name } = await received(version)
    const device = new TestDevice(sync, 'bob')
    await device.next()
    const [left, right] = room.fork()
    const target = left!.say(alice, 'a secret')
    const redaction = right!.event(alice, {
      type: 'm.room.redaction',
      redacts: target.eventId,
      content: { reason: 'regret' },
    })
    await receive(name, redaction)
    const first = (await device.next()).rooms.join[room.roomId].timeline.events
    expect(first).toMatchObject([{ event_id: redaction.eventId, redacts: target.eventId }])
    await receive(name, target)
    const [shown, ...more] = (await device.next()).rooms.join[room.roomId].timeline.events
    expect(more).toEqual([])
    expect(shown).toMatchObject({ event_id: target.eventId, content: {} })
    expect(shown.unsigned.redacted_because).toMatchObject({
      event_id: redaction.eventId,
      content: { reason: 'regret' },
    })
    const stored = await stores.events.byId(name.room, target.eventId)
    expect(stored?.text).not.toContain('secret')
    const { rows } = await database.pool.query('select body from event_text where room = $1', [name.room])
    expect(JSON.stringify(rows)).not.toContain('secret')
  })
})

describe('a fork', () => {
  /** What a client of bob's holds that does as the specification says: the state, then the timeline. */
  class Client {
    readonly device = new TestDevice(sync, 'bob')
    readonly state = new Map<string, string>()

    async next(roomId: string) {
      const { rooms } = await this.device.next()
      const shown = rooms?.join?.[roomId] ?? rooms?.leave?.[roomId]
      const events = [...(shown?.state.events ?? []), ...(shown?.timeline.events ?? [])]
      for (const { type, state_key: key, event_id: id } of events)
        if (key !== undefined) this.state.set(JSON.stringify([type, key]), id)
      return rooms
    }
  }

  it.each(['2', '11', '12'])(
    'leaves a client with the state that was resolved, in room version %s',
    async (version) => {
      const { room, name } = await received(version)
      const client = new Client()
      await client.next(room.roomId)
      const [left, right] = room.fork()
      const events = [
        left!.topic(alice, 'on the left'),
        right!.topic(alice, 'on the right'),
        left!.say(bob, 'left'),
        right!.event(bob, {
          type: 'm.room.member',
          stateKey: bob,
          content: { membership: 'join', displayname: 'Bob' },
        }),
        room.merge(left!, right!).say(alice, 'both'),
      ]
      for (const event of events) {
        await receive(name, event)
        await client.next(room.roomId)
        const current = await rooms.head(name)
        const topic = await rooms.currentState(name, 'm.room.topic', '')
        const member = await rooms.currentState(name, 'm.room.member', bob)
        expect([current.extremities.length > 0, client.state.get('["m.room.topic",""]')]).toEqual([
          true,
          topic?.event.eventId,
        ])
        expect(client.state.get(JSON.stringify(['m.room.member', bob]))).toBe(member?.event.eventId)
      }
      expect(Object.fromEntries(client.state)).toEqual(Object.fromEntries(room.state))
    },
  )

  it('whose other branch bans a user tells them that they were banned', async () => {
    const { room, name } = await received()
    const client = new Client()
    await client.next(room.roomId)
    const [left, right] = room.fork()
    await receive(name, left!.topic(alice, 'Tea'))
    await receive(name, left!.say(bob, 'still here'))
    await client.next(room.roomId)
    const ban = right!.ban(alice, bob)
    await receive(name, ban)
    const { leave } = await client.next(room.roomId)
    expect(leave[room.roomId].timeline.events.map(({ event_id: id }: { event_id: string }) => id)).toEqual([
      ban.eventId,
    ])
    expect(client.state.get(JSON.stringify(['m.room.member', bob]))).toBe(ban.eventId)
  })
})
