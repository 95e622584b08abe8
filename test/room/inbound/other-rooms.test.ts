/** Events whose auth events are of another room: rejected when somebody shows that they are, and undecided before. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { encodeBase64 } from '../../../src/protocol/base64.js'
import { referenceHash } from '../../../src/protocol/hashes.js'
import type { Json, JsonObject } from '../../../src/protocol/json.js'
import { finishEvent } from '../../../src/protocol/signing.js'
import { held, holdRoom, mia, TestClock, testInbound, tryAgain } from '../../support/inbound.js'
import { alice, bob, labRoom, labServer, type Branch } from '../../support/laboratory/index.js'
import { network, ScriptedServer } from '../../support/laboratory/scripted-server.js'
import { testDatabase } from '../../support/postgres.js'
import { testRooms } from '../../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())

let rooms = 0
const newRoom = (version: string) => labRoom({ version, name: `other${++rooms}`, members: [bob, mia] })

async function setting(room: Branch, elsewhere: Branch) {
  const name = await holdRoom(engine, room)
  const find = (eventId: string) => room.judged.find(eventId) ?? elsewhere.judged.find(eventId)
  const peer = new ScriptedServer('one.example', room.judged)
  const clock = new TestClock()
  const inbound = testInbound(database, engine, network(peer), { clock })
  const tellAll = () => peer.answers('event', (_server, eventId) => find(eventId)?.text)
  const send = async ({ text }: { text: string }) => {
    await inbound.transaction('one.example', [text])
    await inbound.settled()
  }
  const again = () => tryAgain(inbound, clock)
  const fateOf = async ({ eventId }: { eventId: string }) => {
    const { fates, staged, events } = await held(database, name)
    return { fate: fates.get(eventId), reason: events.get(eventId)?.reason, staged: staged.map(({ reason }) => reason) }
  }
  return { peer, send, again, fateOf, tellAll }
}

/** Stands on the power levels of another room in the place of its own. */
function withForeignLevels(room: Branch, elsewhere: Branch): { eventId: string; text: string } {
  const { rules } = room
  const { pdu, authEvents } = room.say(bob, 'honest').event
  const levels = elsewhere.stateEvent('m.room.power_levels')!
  const hash = encodeBase64(referenceHash(elsewhere.rules, levels.event.pdu))
  const foreign = rules.eventReferenceFormat === 'id' ? levels.eventId : [levels.eventId, { sha256: hash }]
  const own = authEvents.findIndex((id) => id === room.stateEvent('m.room.power_levels')!.eventId)
  const changed = {
    ...pdu,
    hashes: undefined,
    signatures: undefined,
    prev_events: room.events.at(-1)!.event.pdu.prev_events,
    auth_events: (pdu.auth_events as Json[]).with(own, foreign),
    ...(rules.eventIdFormat === 'in-pdu' ? { event_id: `$foreign${rooms}:one.example` } : {}),
  }
  return finishEvent(rules, changed as unknown as JsonObject, 'one.example', labServer('one.example').key)
}

const isOfAnotherRoom = {
  fate: 'rejected',
  reason: 'auth events: one is of another room',
  staged: [],
}

describe.each(['1', '3', '6', '11', '12'])('in room version %s', (version) => {
  it('an event with an auth event of another room is rejected once a peer shows it', async () => {
    const [room, elsewhere] = [newRoom(version), newRoom(version)]
    const { send, again, fateOf, tellAll, peer } = await setting(room, elsewhere)
    peer.answers('event', () => undefined).answers('eventAuth', () => [])
    const event = withForeignLevels(room, elsewhere)
    await send(event)
    expect(await fateOf(event)).toMatchObject({ fate: undefined, staged: [expect.stringContaining('not to be had')] })
    tellAll()
    await again()
    expect(await fateOf(event)).toEqual(isOfAnotherRoom)
  })

  it('the other room may be of another version', async () => {
    const [room, elsewhere] = [newRoom(version), newRoom(Number(version) < 3 ? '2' : '5')]
    const { send, fateOf, tellAll } = await setting(room, elsewhere)
    tellAll()
    const event = withForeignLevels(room, elsewhere)
    await send(event)
    expect(await fateOf(event)).toEqual(isOfAnotherRoom)
  })
})

it('an id of version 1 is no proof by itself: another event may have been given it', async () => {
  const [room, elsewhere] = [newRoom('1'), newRoom('1')]
  const { send, fateOf, tellAll, peer } = await setting(room, elsewhere)
  tellAll()
  const event = withForeignLevels(room, elsewhere)
  const levels = elsewhere.stateEvent('m.room.power_levels')!
  const another = JSON.stringify({ ...(JSON.parse(levels.text) as object), depth: 99 })
  peer.answers('event', () => another)
  await send(event)
  expect(await fateOf(event)).toMatchObject({ fate: undefined, staged: [expect.stringContaining('not to be had')] })
})

it('a text that does not have the id says nothing', async () => {
  const [room, elsewhere] = [newRoom('11'), newRoom('11')]
  const { send, fateOf, peer } = await setting(room, elsewhere)
  const event = withForeignLevels(room, elsewhere)
  peer.answers('event', () => elsewhere.say(alice, 'another event').text).answers('eventAuth', () => [])
  await send(event)
  expect(await fateOf(event)).toMatchObject({ fate: undefined, staged: [expect.stringContaining('not to be had')] })
})
