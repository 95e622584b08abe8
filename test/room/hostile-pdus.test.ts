/**
 * Hostile PDUs through the whole of inbound, each in a transaction between two good ones: it has the fate it must have,
 * and its neighbours are as if it had not been there.
 */
import { afterAll, describe, expect, it } from '@jest/globals'
import type { RoomVersionRules } from '../../src/protocol/room-versions.js'
import { isDropped, parsePdu, readPdu } from '../../src/room/inbound/read-pdu.js'
import { fateIn, type HostileFate, type HostilePdu, hostilePdus, hostileRoom } from '../support/hostile-pdus.js'
import { held, holdRoom, mia, testInbound } from '../support/inbound.js'
import { alice, bob } from '../support/laboratory/index.js'
import { network, ScriptedServer } from '../support/laboratory/scripted-server.js'
import { testDatabase } from '../support/postgres.js'
import { testRooms } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())

let rooms = 0

/** The id under which it would be stored; of what is no event of the room at all there is none. */
function idOf(rules: RoomVersionRules, roomId: string, text: string): string | undefined {
  const parsed = parsePdu(text)
  if (isDropped(parsed)) return undefined
  const pdu = readPdu(rules, roomId, parsed.value)
  return isDropped(pdu) ? undefined : pdu.event.eventId
}

async function sendBetweenGoodOnes(hostile: HostilePdu, version: string) {
  const lab = hostileRoom(version, `hostile${++rooms}`, [mia])
  const { room } = lab
  const name = await holdRoom(engine, room)
  const before = room.say(bob, 'before')
  const text = hostile.make(lab)
  const after = room.say(alice, 'after')
  const find = (eventId: string) => room.judged.find(eventId) ?? lab.other.judged.find(eventId)
  const peers = ['one.example', 'two.example', 'three.example'].map((server) =>
    new ScriptedServer(server, room.judged).answers('event', (_server, eventId) => find(eventId)?.text),
  )
  const inbound = testInbound(database, engine, network(...peers))
  await inbound.transaction('two.example', [before.text, text, after.text])
  await inbound.settled()
  const { fates, staged } = await held(database, name)
  const eventId = idOf(room.rules, room.roomId, text)
  const stored = eventId === undefined ? undefined : fates.get(eventId)
  const fate: HostileFate =
    staged.length > 0
      ? 'staged'
      : stored === 'accepted' && inbound.counters.redacted > 0
        ? 'redacted'
        : (stored ?? 'dropped')
  return { fate, neighbours: [fates.get(before.eventId), fates.get(after.eventId)], inbound }
}

/** One of each format of events; all versions are judged in test/protocol/hostile-pdus.test.ts. */
describe.each(['1', '5', '12'])('in room version %s', (version) => {
  const rows = hostilePdus.filter((hostile) => fateIn(hostile, version) !== undefined)

  it.each(rows)('$sentence', async (hostile) => {
    const { fate, neighbours, inbound } = await sendBetweenGoodOnes(hostile, version)
    expect({ fate, neighbours }).toEqual({
      fate: hostile.inbound ?? fateIn(hostile, version),
      neighbours: ['accepted', 'accepted'],
    })
    expect(inbound.counters.postponed.fault).toBeUndefined()
  })
})
