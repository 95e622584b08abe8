import { afterAll, describe, expect, it } from '@jest/globals'
import { parseRoomEventFilter } from '../../../src/protocol/filter.js'
import { closestEventAnywhere } from '../../../src/room/closest-event.js'
import { PeerBackfill } from '../../../src/room/inbound/backfill.js'
import { afterPosition } from '../../../src/room/pagination-token.js'
import { readPage } from '../../../src/room/timeline-page.js'
import { heldEvents } from '../../../src/store/held-events.js'
import { alice, bob, labRoom, type LabEvent } from '../../support/laboratory/index.js'
import { network, ScriptedServer } from '../../support/laboratory/scripted-server.js'
import { arrivalOf, holdRoom, mia, testInbound } from '../../support/inbound.js'
import { testDatabase } from '../../support/postgres.js'
import { testRooms } from '../../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())
let rooms = 0

/** A room of which this server has missed twelve messages: it knows the state after them, and what came then. */
async function missedSome() {
  const room = labRoom({ name: `missed${++rooms}`, members: [bob, mia] })
  const name = await holdRoom(engine, room)
  const said = Array.from({ length: 12 }, (_, i) => room.say(i % 2 === 0 ? bob : alice, String(i)))
  const state = await heldEvents(database.db, name.room, [...room.state.values()])
  const stateAfter = new Map([[said.at(-1)!.eventId, [...state.values()].map(({ number }) => number)]])
  said.push(room.say(alice, 'now'))
  await engine.rooms.receive(name, { ...arrivalOf(said.at(-1)!), stateAfter })
  const peer = new ScriptedServer('one.example', room.judged)
  const inbound = testInbound(database, engine, network(peer))
  const backfill = new PeerBackfill(inbound.deps)
  const read = (limit: number) =>
    readPage(
      { ...engine, backfill },
      name,
      { kind: 'user', userId: mia },
      {
        backwards: true,
        from: afterPosition(engine.log.published),
        limit,
        filter: parseRoomEventFilter({}),
      },
    )
  return { room, name, said, peer, read, inbound }
}

const bodies = (events: readonly { readonly event: { readonly content: object } }[]) =>
  events.map(({ event }) => (event.content as { body?: string }).body).filter((body) => body !== undefined)
const newestFirst = (said: readonly LabEvent[]) => bodies(said).reverse()

describe('a page that is read into history this server missed', () => {
  it('shows it, newest first, down to the beginning', async () => {
    const { read, said, name } = await missedSome()
    expect(bodies((await read(50)).events)).toEqual(newestFirst(said))
    expect(bodies((await read(50)).events)).toEqual(newestFirst(said))
    const { extremities } = await engine.rooms.head(name)
    expect(extremities.map(({ event }) => event.eventId)).toContain(said.at(-1)!.eventId)
  })

  it('is fetched once: who reads again asks nobody', async () => {
    const { read, said, peer } = await missedSome()
    await read(50)
    const asked = peer.asked('backfill').length
    expect(bodies((await read(10)).events)).toEqual(newestFirst(said).slice(0, 10))
    expect(peer.asked('backfill')).toHaveLength(asked)
  })

  it('is shorter, and no error, when nobody answers', async () => {
    const { read, peer, said } = await missedSome()
    peer.fails('backfill')
    expect(bodies((await read(50)).events)).toEqual(['now'])
    peer.honestly('backfill')
    expect(bodies((await read(50)).events)).toEqual(newestFirst(said))
  })

  it('takes nothing from a peer that was not asked for', async () => {
    const { read, peer, room, inbound } = await missedSome()
    const beside = room.attempt(bob, { type: 'm.room.message', content: { body: 'beside' } })
    peer.answers('backfill', () => [beside.text, '{}', labRoom({ name: 'elsewhere' }).events[3]!.text])
    expect(bodies((await read(50)).events)).toEqual(['now'])
    expect(inbound.counters.fates.accepted).toBe(0)
  })
})

describe('the event closest to a time', () => {
  const closest = (missed: Awaited<ReturnType<typeof missedSome>>, ts: number, backwards = false) =>
    closestEventAnywhere(
      { ...engine, backfill: new PeerBackfill(missed.inbound.deps) },
      missed.name,
      { kind: 'user', userId: mia },
      { ts, backwards },
    )

  it.each(['forwards', 'backwards'])('is fetched when it lies in history this server missed: %s', async (direction) => {
    const missed = await missedSome()
    const { event, eventId } = missed.said[5]!
    expect((await closest(missed, event.originServerTs, direction === 'backwards'))?.event.eventId).toBe(eventId)
    expect(missed.peer.asked('backfill')).toEqual([])
  })

  it('stands where it belongs, also when what lies around it is fetched later', async () => {
    const missed = await missedSome()
    // The second between the first and the gap.
    for (const i of [5, 9]) {
      const { event, eventId } = missed.said[i]!
      expect((await closest(missed, event.originServerTs))?.event.eventId).toBe(eventId)
    }
    expect(bodies((await missed.read(50)).events)).toEqual(newestFirst(missed.said))
  })

  it('is asked for nowhere when the one here is not beside a gap', async () => {
    const missed = await missedSome()
    const [create] = missed.room.events
    expect((await closest(missed, create!.event.originServerTs))?.event.eventId).toBe(create!.eventId)
    expect(missed.peer.asked('closestEvent')).toEqual([])
  })

  it.each<[string, (missed: Awaited<ReturnType<typeof missedSome>>) => unknown]>([
    [
      'names one that is further away',
      ({ peer, said }) => peer.answers('closestEvent', () => ({ eventId: said[0]!.eventId, ts: 1 })),
    ],
    [
      'lies about when it was',
      ({ peer, said }) =>
        peer.answers('closestEvent', (_server, _room, { ts }) => ({ eventId: said[0]!.eventId, ts: ts + 1 })),
    ],
    ['does not answer', ({ peer }) => peer.fails('closestEvent')],
  ])('is the one here when the other server %s', async (_sentence, script) => {
    const missed = await missedSome()
    script(missed)
    const { event } = missed.said[5]!
    expect((await closest(missed, event.originServerTs))?.event.eventId).toBe(missed.said.at(-1)!.eventId)
  })
})
