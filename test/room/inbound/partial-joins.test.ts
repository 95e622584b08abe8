import { afterAll, describe, expect, it } from '@jest/globals'
import { entries } from '../../../src/protocol/state-trie.js'
import { enter, type Entrance } from '../../../src/room/inbound/entering.js'
import type { Inbound } from '../../../src/room/inbound/inbound.js'
import { PartialJoins } from '../../../src/room/inbound/partial-joins.js'
import { isDropped, type Pdu } from '../../../src/room/inbound/read-pdu.js'
import { readSignedPdu } from '../../../src/room/inbound/receive-pdu.js'
import type { KnownRoom } from '../../../src/room/known-room.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import { RoomServers } from '../../../src/store/room-servers.js'
import { whenLoaded } from '../../../src/store/missing.js'
import { StateView } from '../../../src/store/state-view.js'
import { held, mia, TestClock, testInbound } from '../../support/inbound.js'
import { alice, bob, carol, labRoom, type Branch, type LabEvent } from '../../support/laboratory/index.js'
import { network, ScriptedServer } from '../../support/laboratory/scripted-server.js'
import { testDatabase } from '../../support/postgres.js'
import { testRooms, testServer } from '../../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
/** Another process on the same database. */
const other = await testRooms(database)
afterAll(() => Promise.all([engine.close(), other.close()]))

/** What servers that were there all the time hold, and a full join gives: on a database of its own. */
const wholeDatabase = await testDatabase()
const whole = await testRooms(wholeDatabase)
afterAll(() => whole.close())

let rooms = 0
const newRoom = () => labRoom({ version: '11', name: `partial${++rooms}`, members: [bob, carol] })

const pduOf = (room: Branch, { text }: LabEvent): Pdu => {
  const pdu = readSignedPdu(room.rules, room.events[0]!.event.roomId, text)
  if (isDropped(pdu)) throw new Error(pdu.why)
  return pdu
}

const isMember = ({ event }: LabEvent) => event.type === 'm.room.member'

/** What the resident server answers to the join of mia. */
function answerTo(room: Branch, join: LabEvent, how: 'partial' | 'whole'): Entrance {
  const state = [...join.stateBefore.values()].map((eventId) => room.judged.get(eventId))
  const kept = how === 'whole' ? state : state.filter((event) => !isMember(event))
  const chain = new Map<string, LabEvent>()
  const open = [...kept, join].flatMap(({ event }) => event.authEvents)
  for (const id of open) {
    const event = room.judged.get(id)
    chain.set(id, event)
    open.push(...event.event.authEvents)
  }
  return {
    roomId: join.event.roomId,
    version: room.rules.version,
    resident: 'one.example',
    join: pduOf(room, join),
    state: kept.map(({ text }) => text),
    authChain: (how === 'whole' ? state : []).concat([...chain.values()]).map(({ text }) => text),
    partial:
      how === 'whole' ? undefined : { resident: 'one.example', servers: ['one.example', 'two.example'], nowTs: 1 },
  }
}

interface Site {
  readonly engine: RoomEngine
  readonly inbound: Inbound
  readonly partialJoins: PartialJoins
  readonly clock: TestClock
  readonly one: ScriptedServer
  readonly two: ScriptedServer
}

function siteOf(room: Branch, process = engine, base = database): Site {
  const one = new ScriptedServer('one.example', room.judged)
  const two = new ScriptedServer('two.example', room.judged)
  const clock = new TestClock()
  const inbound = testInbound(base, process, network(one, two), { clock })
  const partialJoins = new PartialJoins(inbound.deps, `holder ${rooms}`, { timeout: 1_000 })
  return { engine: process, inbound, partialJoins, clock, one, two }
}

const stateOf = async ({ engine: { stores, rooms } }: Pick<Site, 'engine'>, name: KnownRoom) => {
  const { head } = await rooms.head(name)
  const view = new StateView(stores, name.room)
  const found = await whenLoaded(() => view.run(entries(view.loaded, head.state)))
  const events = await stores.events.events(
    name.room,
    found.map(([, number]) => number),
  )
  return [...events.values()].map(({ event }) => event.eventId).sort()
}

const sent = async ({ inbound }: Site, ...events: readonly LabEvent[]) => {
  await inbound.transaction(
    'one.example',
    events.map(({ text }) => text),
  )
  await inbound.settled()
}

/** The room as who came into it with the whole state has it after the same events. */
async function afterWholeJoin(room: Branch, join: LabEvent, events: readonly LabEvent[]) {
  const site = siteOf(room, whole, wholeDatabase)
  const name = await enter(site.inbound.deps, answerTo(room, join, 'whole'))
  await sent(site, ...events)
  const { fates, extremities } = await held(wholeDatabase, name)
  return { state: await stateOf(site, name), fates, extremities, summary: await whole.rooms.summary(name) }
}

/** Event by event. */
async function expectAsAfterWholeJoin(site: Site, name: KnownRoom, room: Branch, join: LabEvent, events: LabEvent[]) {
  const expected = await afterWholeJoin(room, join, events)
  const { fates, extremities, staged } = await held(database, name)
  const told = (all: ReadonlyMap<string, unknown>) => events.map(({ eventId }) => [eventId, all.get(eventId)])
  expect(told(fates)).toEqual(told(expected.fates))
  expect(extremities).toEqual(expected.extremities)
  expect(await stateOf(site, name)).toEqual(expected.state)
  expect(await site.engine.rooms.summary(name)).toEqual(expected.summary)
  expect(staged).toEqual([])
  expect(await database.db.selectFrom('partial_join').selectAll().where('room', '=', name.room).execute()).toEqual([])
}

const joined = async ({ room }: KnownRoom) => {
  const rows = await database.db
    .selectFrom('membership')
    .select('user_id')
    .where('room', '=', room)
    .where('membership', '=', 'join')
    .execute()
  return rows.map(({ user_id }) => user_id).sort()
}

describe('a join without the members', () => {
  it('makes the room usable, with the servers that are said to be there', async () => {
    const room = newRoom()
    room.topic(alice, 'hello')
    const join = room.join(mia)
    const site = siteOf(room)
    const name = await enter(site.inbound.deps, answerTo(room, join, 'partial'))
    expect((await held(database, name)).extremities).toEqual([join.eventId])
    expect((await engine.rooms.summary(name)).topic).toBe('hello')
    expect(await joined(name)).toEqual([mia])
    expect(await new RoomServers(database.db, testServer.name).of(name.room)).toEqual(['one.example', 'two.example'])
    const said = await engine.rooms.send(name, { type: 'm.room.message', sender: mia, content: { body: 'hi' } })
    expect([said.fate, said.isOutgoing]).toEqual(['accepted', true])
    const marks = await database.db
      .selectFrom('destination_room')
      .select('destination')
      .where('room', '=', name.room)
      .execute()
    expect(marks.map(({ destination }) => destination).sort()).toEqual(['one.example', 'two.example'])
  })

  it('is completed, and the room is as after a join with the whole state, event by event', async () => {
    const room = newRoom()
    const join = room.join(mia)
    const site = siteOf(room)
    const name = await enter(site.inbound.deps, answerTo(room, join, 'partial'))
    const events = [
      room.say(bob, 'welcome'),
      room.topic(alice, 'new'),
      room.join('@zoe:two.example'),
      room.leave(carol),
    ]
    await sent(site, ...events)
    const { fates } = await held(database, name)
    expect(events.map(({ eventId }) => fates.get(eventId))).toEqual(events.map(() => 'accepted'))
    await site.partialJoins.poll()
    await site.partialJoins.settled()
    await expectAsAfterWholeJoin(site, name, room, join, events)
    expect(await joined(name)).toEqual([alice, bob, mia, '@zoe:two.example'].sort())
  })

  it('asks another server where the one that let us in does not answer, after a crash too', async () => {
    const room = newRoom()
    const join = room.join(mia)
    const site = siteOf(room)
    const name = await enter(site.inbound.deps, answerTo(room, join, 'partial'))
    site.one.fails('state')
    site.two.fails('state')
    await site.partialJoins.poll()
    await site.partialJoins.settled()
    expect(await engine.rooms.isPartial(name)).toBe(true)
    // Another process finds it when its time has come.
    const next = siteOf(room, other)
    next.clock.pass(5_000)
    next.one.fails('state')
    await next.partialJoins.poll()
    await next.partialJoins.settled()
    const ofRoom = (peer: ScriptedServer) => peer.asked('state').filter((asked) => asked.arguments[1] === name.roomId)
    expect([ofRoom(next.one).length, ofRoom(next.two).length]).toEqual([1, 1])
    await engine.catchUp()
    expect(await engine.rooms.isPartial(name)).toBe(false)
    await expectAsAfterWholeJoin(site, name, room, join, [])
  })

  it('judges again what was judged without the members: here, and in other processes', async () => {
    const room = newRoom()
    const carols = room.events.find(({ event }) => event.stateKey === carol)!
    const levels = room.events.find(({ event }) => event.type === 'm.room.power_levels')!
    const create = room.events[0]!
    room.ban(alice, carol)
    const join = room.join(mia)
    const site = siteOf(room)
    const name = await enter(site.inbound.deps, answerTo(room, join, 'partial'))
    // By the events it names she is in the room.
    const authEvents = [create, levels, carols]
    const forbidden = room.attempt(carol, { type: 'm.room.message', content: { body: 'I am banned' }, authEvents })
    const ours = await engine.rooms.send(name, { type: 'm.room.message', sender: mia, content: { body: 'between' } })
    await sent(site, forbidden)
    await other.catchUp()
    const before = await other.stores.events.byId(name.room, forbidden.eventId)
    expect(before?.fate).toBe('accepted')
    expect(await joined(name)).toEqual([carol, mia].sort())
    await site.partialJoins.poll()
    await site.partialJoins.settled()
    await other.catchUp()
    const after = await other.stores.events.byId(name.room, forbidden.eventId)
    expect([after?.fate, before?.fate]).toEqual(['rejected', 'rejected'])
    const { extremities, fates } = await held(database, name)
    expect([extremities, fates.get(ours.event.eventId)]).toEqual([[ours.event.eventId], 'accepted'])
    expect(await joined(name)).toEqual([alice, bob, mia].sort())
    expect((await other.rooms.summary(name)).joined_members).toBe(3)
    const [servers] = [await new RoomServers(database.db, testServer.name).of(name.room)]
    expect(servers).not.toContain(carol.split(':')[1])
  })

  it('takes in what stands beside our join, and lets wait what stands on a state that is not known', async () => {
    const room = newRoom()
    const tip = room.say(alice, 'what our join stands on')
    const [beside, behind] = [room.fork()[0]!, room.fork()[0]!]
    const join = room.join(mia)
    const said = beside.say(bob, 'I have not heard of mia')
    const site = siteOf(room)
    const name = await enter(site.inbound.deps, answerTo(room, join, 'partial'))
    const old = behind.attempt(bob, {
      type: 'm.room.message',
      content: { body: 'long ago' },
      prevEvents: [room.events[room.events.indexOf(tip) - 1]!],
    })
    const merge = room.attempt(alice, { type: 'm.room.message', content: {}, prevEvents: [join, said] })
    for (const peer of [site.one, site.two]) peer.fails('missingEvents')
    await sent(site, said, merge, old)
    const { fates, staged } = await held(database, name)
    expect([fates.get(said.eventId), fates.get(merge.eventId)]).toEqual(['accepted', 'accepted'])
    expect(staged.map(({ event_id }) => event_id)).toEqual([old.eventId])
    await site.partialJoins.poll()
    await site.partialJoins.settled()
    for (const peer of [site.one, site.two]) peer.honestly('missingEvents')
    await site.inbound.poll()
    await site.inbound.settled()
    await expectAsAfterWholeJoin(site, name, room, join, [said, merge, old])
  })

  it('that the whole state does not allow puts our user out of the room', async () => {
    const room = newRoom()
    room.ban(alice, mia)
    const join = room.attempt(mia, {
      type: 'm.room.member',
      stateKey: mia,
      content: { membership: 'join' },
      authEvents: room.events
        .filter(({ event }) => event.type !== 'm.room.member' && event.type !== 'm.room.history_visibility')
        .slice(0, 3),
    })
    const site = siteOf(room)
    const name = await enter(site.inbound.deps, answerTo(room, join, 'partial'))
    expect(await joined(name)).toEqual([mia])
    const said = await engine.rooms.send(name, { type: 'm.room.message', sender: mia, content: { body: 'I am in' } })
    await site.partialJoins.poll()
    await site.partialJoins.settled()
    expect(await engine.rooms.membership(name, mia)).toBe('ban')
    expect(await joined(name)).toEqual([alice, bob, carol].sort())
    const { fates } = await held(database, name)
    expect([fates.get(join.eventId), fates.get(said.event.eventId)]).toEqual(['rejected', 'rejected'])
  })

  it('lets what is about members wait until they are here', async () => {
    const room = newRoom()
    const join = room.join(mia)
    const site = siteOf(room)
    const name = await enter(site.inbound.deps, answerTo(room, join, 'partial'))
    const membership = engine.rooms.membership(name, bob)
    const elsewhere = other.rooms.requireWhole(name)
    const ban = expect(engine.rooms.changeMembership(name, mia, bob, { membership: 'ban' })).rejects.toMatchObject({
      status: 403,
    })
    await expect(engine.rooms.whole(name, 10)).resolves.toBe(false)
    await expect(engine.rooms.requireWhole(name, 10)).rejects.toMatchObject({ status: 503 })
    await site.partialJoins.poll()
    expect(await membership).toBe('join')
    await elsewhere
    await ban
    await site.partialJoins.settled()
  })

  it('into a room that was left meanwhile forgets what was judged without the members', async () => {
    const room = newRoom()
    const first = room.join(mia)
    const site = siteOf(room)
    const name = await enter(site.inbound.deps, answerTo(room, first, 'partial'))
    const said = room.say(bob, 'hello')
    const leave = room.leave(mia)
    await sent(site, said, leave)
    expect(await joined(name)).toEqual([bob])
    const second = room.join(mia)
    await enter(site.inbound.deps, answerTo(room, second, 'whole'))
    expect(await engine.rooms.isPartial(name)).toBe(false)
    const { events, extremities } = await held(database, name)
    expect([first, said, leave].map(({ eventId }) => events.get(eventId)?.state_before)).toEqual([null, null, null])
    expect(extremities).toEqual([second.eventId])
    expect(await joined(name)).toEqual([alice, bob, carol, mia].sort())
    // What stands on it is as if it had never been here.
    const late = room.attempt(bob, { type: 'm.room.message', content: {}, prevEvents: [leave] })
    await sent(site, late)
    expect((await held(database, name)).fates.get(late.eventId)).toBe('accepted')
    expect(await stateOf(site, name)).toEqual([...second.stateAfter.values()].sort())
    const servers = await database.db.selectFrom('room_server').selectAll().where('room', '=', name.room).execute()
    expect(servers.filter(({ is_claimed }) => is_claimed)).toEqual([])
  })
})
