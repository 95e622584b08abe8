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
