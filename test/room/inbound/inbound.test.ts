import { afterAll, describe, expect, it, jest } from '@jest/globals'
import { sql } from 'kysely'
import { type Logger, silentLogger } from '../../../src/logger.js'
import { signedText } from '../../../src/protocol/hashes.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { finishEvent } from '../../../src/protocol/signing.js'
import { inboundConfig } from '../../../src/room/inbound/inbound.js'
import { Transactions, MOST_STAGED } from '../../../src/room/inbound/transaction.js'
import { newProcessName } from '../../../src/store/processes.js'
import { eventually } from '../../support/eventually.js'
import {
  alice,
  bob,
  carol,
  dave,
  labRoom,
  labServer,
  type Branch,
  type LabEvent,
} from '../../support/laboratory/index.js'
import { network, ScriptedServer } from '../../support/laboratory/scripted-server.js'
import { held, holdRoom, mia, TestClock, testInbound, tryAgain } from '../../support/inbound.js'
import { testDatabase } from '../../support/postgres.js'
import { testRooms } from '../../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())

let rooms = 0
const newRoom = (version = '11', members: readonly string[] = [bob, mia]) =>
  labRoom({ version, name: `inbound${++rooms}`, members })
const texts = (events: readonly LabEvent[]) => events.map(({ text }) => text)
const ids = (events: readonly LabEvent[]) => events.map(({ eventId }) => eventId)
const extremities = (room: Branch) => ids(room.judged.extremities()).sort()

/** The room as it is now is here; what is added to it later only `one.example` has. */
async function setting(room: Branch, options: Parameters<typeof testInbound>[3] = {}) {
  const name = await holdRoom(engine, room)
  const one = new ScriptedServer('one.example', room.judged)
  const two = new ScriptedServer('two.example', room.judged)
  const inbound = testInbound(database, engine, network(one, two), options)
  const send = async (events: readonly LabEvent[], origin = 'one.example') => {
    const answers = await inbound.transaction(origin, texts(events))
    await inbound.settled()
    return answers
  }
  return { name, one, two, inbound, send, held: () => held(database, name) }
}

function promised(): [resolve: () => void, promise: Promise<void>] {
  let settle!: () => void
  const promise = new Promise<void>((resolve) => (settle = resolve))
  return [() => settle(), promise]
}

function storedHere(...events: readonly LabEvent[]): Promise<void> {
  const missing = new Set(ids(events))
  return new Promise((resolve) => {
    engine.log.subscribe((facts) => {
      for (const fact of facts) if (fact.kind === 'event') missing.delete(fact.event.event.eventId)
      if (missing.size === 0) resolve()
    })
  })
}

/** Peers hang until they are told to go on, however slow the machine is. */
const patient = {
  asking: { ...inboundConfig.asking, timeout: 300_000 },
  budget: { ...inboundConfig.budget, time: 300_000 },
}

const permutations = <T>(items: readonly T[]): T[][] =>
  items.length < 2
    ? [[...items]]
    : items.flatMap((item, i) =>
        permutations([...items.slice(0, i), ...items.slice(i + 1)]).map((rest) => [item, ...rest]),
      )

describe('a transaction', () => {
  it('is answered when its PDUs are staged, and they are worked off', async () => {
    const room = newRoom()
    const { send, held, inbound, one } = await setting(room)
    const said = [room.say(bob, 'one'), room.say(alice, 'two'), room.say(bob, 'three')]
    expect(await send(said)).toEqual(Object.fromEntries(ids(said).map((id) => [id, {}])))
    const { fates, extremities, staged } = await held()
    for (const { eventId } of said) expect(fates.get(eventId)).toBe('accepted')
    expect({ extremities, staged }).toEqual({ extremities: [said[2]!.eventId], staged: [] })
    expect(inbound.counters).toMatchObject({ fates: { accepted: 3 }, staged: 3, fetched: 0 })
    expect(one.requests.every(({ method }) => method === 'keys')).toBe(true)
  })

  it('with an event of each of thirty rooms is taken at once', async () => {
    const rooms = Array.from({ length: 30 }, () => newRoom())
    const { inbound, name, send } = await setting(rooms[0]!)
    const names = [name]
    for (const room of rooms.slice(1)) names.push(await holdRoom(engine, room))
    const said = rooms.map((room) => room.say(bob, 'hello'))
    await send(said)
    const found = await Promise.all(names.map(async (name) => (await held(database, name)).extremities))
    expect(found).toEqual(said.map(({ eventId }) => [eventId]))
    expect(inbound.counters.postponed).toEqual({})
  })

  it('waits for all rooms that are being entered no longer than for one', async () => {
    const room = newRoom()
    const { inbound, held } = await setting(room)
    const entered = [newRoom(), newRoom()]
    const [enter, entering] = promised()
    const entrances = entered.map(({ roomId }) => inbound.deps.entrances.during(roomId, () => entering))
    const early = entered.flatMap((one) => [one.say(bob, 'one'), one.say(bob, 'two')])
    const said = room.say(bob, 'hello')
    const patience = new AbortController()
    const answered = inbound.transaction('one.example', texts([...early, said]), patience.signal)
    patience.abort()
    expect(await answered).toEqual({ [said.eventId]: {} })
    await inbound.settled()
    expect((await held()).fates.get(said.eventId)).toBe('accepted')
    enter()
    await Promise.all(entrances)
  })

  it('may hold an event twice, and events that are here', async () => {
    const room = newRoom()
    const { send, held, inbound } = await setting(room)
    const said = room.say(bob, 'hello')
    await send([said, said])
    expect(await send([said, room.events[0]!], 'two.example')).toEqual({
      [said.eventId]: {},
      [room.events[0]!.eventId]: {},
    })
    expect(inbound.counters).toMatchObject({ fates: { accepted: 1 }, known: 2 })
    expect((await held()).staged).toEqual([])
  })

  it('may bring what another server brought, too', async () => {
    const room = newRoom()
    const { inbound, held } = await setting(room)
    const said = room.say(bob, 'hello')
    await Promise.all(['one.example', 'two.example'].map((origin) => inbound.transaction(origin, [said.text])))
    await inbound.settled()
    const { fates, staged } = await held()
    expect({ fate: fates.get(said.eventId), staged }).toEqual({ fate: 'accepted', staged: [] })
  })

  it.each(permutations([0, 1, 2, 3]))('brings a fork and its merge in the order %d %d %d %d', async (...order) => {
    const room = newRoom()
    const { send, held, inbound } = await setting(room)
    const [left, right] = room.fork() as [Branch, Branch]
    const events = [left.say(bob, 'left'), right.topic(alice, 'right')]
    room.merge(left, right)
    events.push(room.say(alice, 'merge'), room.say(bob, 'after'))
    await send(order.map((i) => events[i]!))
    const { extremities: found, staged } = await held()
    expect({ found, staged, fetched: inbound.counters.fetched }).toEqual({
      found: extremities(room),
      staged: [],
      fetched: 0,
    })
  })

  it('asks no peer for what is being stored while it is looked for', async () => {
    const room = newRoom()
    const { inbound, held } = await setting(room)
    const [left, right] = room.fork() as [Branch, Branch]
    const [first, second] = [left.say(bob, 'left'), right.topic(alice, 'right')]
    room.merge(left, right)
    const merge = room.say(alice, 'merge')
    const [looked, isLookedFor] = promised()
    const [stored, isStored] = promised()
    const { receiveAll } = engine.rooms
    const storing = jest.spyOn(engine.rooms, 'receiveAll').mockImplementation(async (name, arrivals) => {
      if (arrivals.some(({ event }) => event.eventId === first.eventId)) await isLookedFor
      // Longer than it takes to look for it.
      else for (let i = 0; i < 10; i++) await held()
      return receiveAll.call(engine.rooms, name, arrivals)
    })
    const { held: looking, ended } = inbound.deps
    const looksFor = looking.ask.bind(looking)
    jest.spyOn(looking, 'ask').mockImplementation(async (wanted) => {
      const answer = await looksFor(wanted)
      if (!ids([first, second]).every((id) => wanted.eventIds.includes(id))) return answer
      looked()
      await isStored
      return answer
    })
    const ends = ended.ask.bind(ended)
    jest.spyOn(ended, 'ask').mockImplementation(async (events) => {
      const isAwaited = await ends(events)
      stored()
      return isAwaited
    })
    await inbound.transaction('one.example', texts([first]))
    await eventually('the first is handed over', () => storing.mock.calls.length > 0)
    await inbound.transaction('one.example', texts([second, merge]))
    await inbound.settled()
    storing.mockRestore()
    const { extremities: found, staged } = await held()
    expect({ found, staged, fetched: inbound.counters.fetched }).toEqual({
      found: extremities(room),
      staged: [],
      fetched: 0,
    })
  })

  it.each(permutations([0, 1, 2, 3]))('each brings one of a fork in the order %d %d %d %d', async (...order) => {
    const room = newRoom()
    const { send, held } = await setting(room)
    const [left, right] = room.fork() as [Branch, Branch]
    const events = [left.say(bob, '1'), right.say(alice, '2'), left.say(alice, '3'), right.topic(alice, '4')]
    for (const i of order) await send([events[i]!])
    const { extremities: found, staged } = await held()
    expect({ found, staged }).toEqual({ found: extremities(room), staged: [] })
  })

  it('with twenty bad shapes leaves the good PDUs between them as they are', async () => {
    const room = newRoom()
    const { inbound, held } = await setting(room)
    const good = [room.say(bob, 'one'), room.say(alice, 'two'), room.say(bob, 'three')]
    const pdu = JSON.parse(good[0]!.text) as Record<string, unknown>
    const bad = [
      '',
      '{',
      'null',
      '[]',
      '"text"',
      '5',
      '{}',
      '{"room_id":5}',
      '{"room_id":"!nowhere:one.example"}',
      ...[
        { type: 5 },
        { sender: 'bob' },
        { content: [] },
        { depth: 1.5 },
        { depth: 2 ** 60 },
        { auth_events: 'x' },
        { prev_events: [5] },
        { hashes: {} },
        { signatures: {} },
        { state_key: {} },
        { origin_server_ts: '5' },
        { room_id: [] },
        { more: 1.5 },
        { dropped: 'x' },
        { __proto__: 5, toString: 5 },
      ].map((change) => JSON.stringify({ ...pdu, ...change })),
    ]
    const mixed = bad.flatMap((text, i) => [text, ...(i % 8 === 0 ? [good[i / 8]!.text] : [])])
    const answers = await inbound.transaction('one.example', mixed)
    await inbound.settled()
    for (const { eventId } of good) expect(answers[eventId]).toEqual({})
    const { fates, extremities: found, staged } = await held()
    for (const { eventId } of good) expect(fates.get(eventId)).toBe('accepted')
    expect({ found, staged }).toEqual({ found: [good[2]!.eventId], staged: [] })
    expect(Object.values(inbound.counters.dropped).reduce((sum, count) => sum + count, 0)).toBeGreaterThan(20)
  })

  it('brings nothing into rooms in which nobody of this server is', async () => {
    const room = newRoom('11', [bob])
    const { send, held, inbound } = await setting(room)
    const said = room.say(bob, 'hello')
    await send([said])
    expect((await held()).fates.has(said.eventId)).toBe(false)
    expect(inbound.counters.dropped).toEqual({ 'room unknown': 1 })
  })

  it('is refused what the ACL of the room denies its origin, whoever made it', async () => {
    const room = newRoom()
    room.event(alice, { type: 'm.room.server_acl', stateKey: '', content: { allow: ['*'], deny: ['two.*'] } })
    const { send, held } = await setting(room)
    const said = room.say(bob, 'hello')
    expect(await send([said], 'two.example')).toEqual({
      [said.eventId]: { error: expect.stringContaining('ACL') as unknown as string },
    })
    expect((await held()).fates.has(said.eventId)).toBe(false)
    expect(await send([said], 'one.example')).toEqual({ [said.eventId]: {} })
    expect((await held()).fates.get(said.eventId)).toBe('accepted')
  })

  it('is refused what would fill our disk', async () => {
    const room = newRoom()
    const { name, inbound } = await setting(room)
    await sql`
      insert into staged_pdu (room_id, event_id, origin, received_ts, body, next_attempt_ts)
      select ${name.roomId}, '$' || i, 'one.example', 0, '', 9e15 from generate_series(1, ${MOST_STAGED.ofOrigin - 1}) i
    `.execute(database.db)
    const said = [room.say(bob, 'one'), room.say(bob, 'two')]
    const take = (origin: string) => new Transactions(inbound.deps).take(origin, texts(said), AbortSignal.abort())
    const { pdus } = await take('one.example')
    expect(Object.values(pdus).filter(({ error }) => error !== undefined)).toHaveLength(1)
    const others = await take('two.example')
    expect(Object.values(others.pdus).filter(({ error }) => error !== undefined)).toHaveLength(0)
    await database.db.deleteFrom('staged_pdu').where('room_id', '=', name.roomId).execute()
  })
})

describe('a gap', () => {
  it('is filled with the events in it, when it is small', async () => {
    const room = newRoom()
    const { send, held, one } = await setting(room)
    const missed = [room.say(bob, 'one'), room.topic(alice, 'two'), room.say(bob, 'three')]
    const last = room.say(alice, 'four')
    await send([last])
    const { fates, extremities: found, events, staged } = await held()
    for (const { eventId } of [...missed, last]) expect(fates.get(eventId)).toBe('accepted')
    expect(events.get(missed[0]!.eventId)!.position).not.toBeNull()
    expect({ found, staged }).toEqual({ found: [last.eventId], staged: [] })
    expect(one.asked('stateIds')).toEqual([])
  })

  it('is left open when it is large: the state at its end comes from a peer, of which only the news is fetched', async () => {
    const room = newRoom()
    const { send, name, held, one } = await setting(room)
    const [before] = room.tips
    const topic = room.topic(alice, 'meanwhile')
    for (let i = 0; i < 300; i++) room.say(bob, String(i))
    const last = room.say(alice, 'last')
    await send([last])
    const { fates, extremities: found, staged } = await held()
    expect({ fate: fates.get(last.eventId), staged }).toEqual({ fate: 'accepted', staged: [] })
    // Nothing that is here says that one comes after the other: our next event will.
    expect(found).toEqual([before!.eventId, last.eventId].sort())
    expect((await engine.rooms.currentState(name, 'm.room.topic', ''))?.event.eventId).toBe(topic.eventId)
    expect(one.asked('stateIds')).toHaveLength(1)
    expect(one.asked('state')).toHaveLength(0)
    expect(one.asked('event').length).toBeLessThan(10)
    const gaps = await database.db.selectFrom('backward_extremity').selectAll().where('room', '=', name.room).execute()
    expect(gaps).toHaveLength(1)
    // What is held of the gap without a place does not close it: a timeline is cut there.
    const [after] = (await engine.stores.events.events(name.room, [gaps[0]!.event])).values()
    expect(after!.prevEvents).toEqual([])
  })

  it('is filled by another server when the first fails in the middle', async () => {
    const room = newRoom('11', [bob, mia, carol])
    const { send, held, one, two } = await setting(room)
    for (let i = 0; i < 60; i++) room.say(bob, String(i))
    const last = room.say(alice, 'last')
    let asked = 0
    one.answers('missingEvents', (_server, _roomId, gap) => {
      if (++asked > 1) throw new Error('gone')
      const latest = room.judged.get(gap.latest[0]!)
      return latest.event.prevEvents.map((id) => room.judged.get(id).text)
    })
    await send([last])
    expect((await held()).fates.get(last.eventId)).toBe('accepted')
    expect(two.asked('missingEvents').length).toBeGreaterThan(0)
    expect((await held()).events.size).toBe(room.events.length)
  })

  it('is not filled with what a peer sends beside it', async () => {
    const room = newRoom()
    const other = newRoom()
    const { send, held, inbound, one } = await setting(room)
    const missed = room.say(bob, 'missed')
    const last = room.say(alice, 'last')
    const unasked = room.attempt(bob, { type: 'm.room.message', content: { body: 'beside' } })
    const forged = JSON.stringify({ ...(JSON.parse(missed.text) as object), depth: 3 })
    one.answers('missingEvents', () => [other.events[3]!.text, unasked.text, forged, missed.text, missed.text, '{'])
    await send([last])
    const { fates, extremities: found } = await held()
    expect(fates.has(unasked.eventId)).toBe(false)
    expect({ fate: fates.get(missed.eventId), found }).toEqual({ fate: 'accepted', found: [last.eventId] })
    expect(inbound.counters.dropped).toMatchObject({ 'other room': 1, signature: 1, format: 1 })
  })

  it('stays, with what stands after it, while nobody has what is missing; and is filled when somebody has', async () => {
    const clock = new TestClock()
    const room = newRoom()
    const { send, held, inbound, one, two } = await setting(room, { clock })
    const missed = room.say(bob, 'missed')
    const last = room.say(alice, 'last')
    const child = room.say(alice, 'child')
    for (const peer of [one, two]) peer.omit(missed).fails('stateIds')
    await send([child, last])
    const first = (await held()).staged
    expect(first.map(({ event_id, attempts }) => [event_id, attempts])).toEqual([
      [child.eventId, 0],
      [last.eventId, 1],
    ])
    expect(first.map(({ reason }) => reason)).toEqual([`waits for ${last.eventId}`, expect.any(String)])
    clock.pass(2_000)
    await inbound.poll()
    await inbound.settled()
    const second = (await held()).staged.find(({ event_id }) => event_id === last.eventId)!
    expect(second.attempts).toBe(2)
    expect(second.next_attempt_ts - clock.now()).toBe(4_000)
    one.honestly('stateIds')
    one.answers('missingEvents', () => [missed.text])
    clock.pass(4_000)
    await inbound.poll()
    await inbound.settled()
    const { staged, extremities: found } = await held()
    expect({ staged, found }).toEqual({ staged: [], found: [child.eventId] })
  })

  it('is asked for once, and not for each of a hundred events that stand on others, where no server answers', async () => {
    const clock = new TestClock()
    const room = newRoom()
    const { send, held, one, two, inbound } = await setting(room, { clock })
    const branches = room.fork(20)
    const missed = branches.map((branch) => branch.say(bob, 'missed'))
    const lines = branches.map((branch) => ['a', 'b', 'c', 'd', 'e'].map((body) => branch.say(alice, body)))
    for (const peer of [one, two]) peer.fails('missingEvents').fails('stateIds').fails('event')
    await send(lines.flat())
    const { staged } = await held()
    expect(staged).toHaveLength(100)
    const waits = new Map(staged.map(({ event_id, waits_for }) => [event_id, waits_for]))
    for (const line of lines) {
      expect(line.map(({ eventId }) => waits.get(eventId))).toEqual([null, ...ids(line).slice(0, -1)])
    }
    expect(one.requests.length + two.requests.length).toBeLessThan(10)
    for (const peer of [one, two])
      for (const call of ['missingEvents', 'stateIds', 'event'] as const) peer.honestly(call)
    await tryAgain(inbound, clock)
    const after = await held()
    expect(after.staged).toEqual([])
    expect(missed.map(({ eventId }) => after.fates.get(eventId))).toEqual(Array(20).fill('accepted'))
  })

  it('is told in the log once for the room, however many events wait', async () => {
    const warned: object[] = []
    const logger = { ...silentLogger, warn: (fields: object) => void warned.push(fields) } as Logger
    const room = newRoom()
    const { send, held, one, two } = await setting(room, { logger })
    const branches = room.fork(20)
    const missed = branches.map((branch) => branch.say(bob, 'missed'))
    const leaves = branches.map((branch) => branch.say(alice, 'leaf'))
    for (const peer of [one, two]) peer.omit(...missed).fails('stateIds')
    await send(leaves)
    const { staged } = await held()
    expect(staged.filter(({ attempts }) => attempts === 1)).toHaveLength(20)
    expect(warned).toMatchObject([{ room_id: room.roomId, reason: staged[0]!.reason }])
  })

  it('costs no more than its budget; then the PDU stays staged, and may cost more the next time', async () => {
    const clock = new TestClock()
    const room = newRoom()
    const budget = { pdus: 40, bytes: 1e9, time: 1e9 }
    const { send, held, inbound } = await setting(room, { clock, config: { budget } })
    for (let i = 0; i < 60; i++) room.say(bob, String(i))
    const last = room.say(alice, 'last')
    await send([last])
    expect(inbound.counters.postponed).toEqual({ budget: 1 })
    expect((await held()).staged).toMatchObject([{ event_id: last.eventId, reason: 'needs more than 40 other events' }])
    clock.pass(2_000)
    await inbound.poll()
    await inbound.settled()
    const { staged, fates } = await held()
    expect({ staged, fate: fates.get(last.eventId) }).toEqual({ staged: [], fate: 'accepted' })
  })

  it.each<[string, (one: ScriptedServer, room: Branch) => void]>([
    [
      'without m.room.create',
      (one, room) => one.answers('stateIds', () => ({ stateIds: [room.events[1]!.eventId], authChainIds: [] })),
    ],
    [
      'with two events of one key',
      (one, room) =>
        one.answers('stateIds', () => ({
          stateIds: ids([room.events[0]!, room.events[1]!, room.events[5]!, room.events[7]!]),
          authChainIds: [],
        })),
    ],
    [
      'with a message',
      (one, room) =>
        one.answers('stateIds', () => ({ stateIds: ids([room.events[0]!, room.events[6]!]), authChainIds: [] })),
    ],
    [
      'with events nobody has',
      (one) => one.answers('stateIds', () => ({ stateIds: [`$${'x'.repeat(43)}`], authChainIds: [] })),
    ],
    ['of nothing', (one) => one.answers('stateIds', () => ({ stateIds: [], authChainIds: [] }))],
  ])('is not filled with a state %s', async (_sentence, lie) => {
    const room = newRoom()
    room.say(bob, 'a message')
    room.join(mia, { displayname: 'Mia' })
    const { send, held, one, two } = await setting(room)
    for (const peer of [one, two]) {
      lie(peer, room)
      peer.fails('missingEvents')
    }
    room.say(bob, 'missed')
    const last = room.say(alice, 'last')
    await send([last])
    const { staged, fates } = await held()
    expect({ staged: staged.length, has: fates.has(last.eventId) }).toEqual({ staged: 1, has: false })
  })
})

describe('auth events', () => {
  /** An event whose auth chain has news that are on no path of prev events from here. */
  function behind(room: Branch) {
    const [side] = room.fork(1) as [Branch]
    const joined = side.join(dave)
    const named = side.join(dave, { displayname: 'Dave' })
    const said = room.attempt(dave, {
      type: 'm.room.message',
      content: { body: 'hello' },
      authEvents: [room.stateEvent('m.room.create')!, room.stateEvent('m.room.power_levels')!, named],
    })
    return { joined, named, said }
  }

  it('that are missing are fetched, with theirs, and stored as outliers in order', async () => {
    const room = newRoom()
    const { send, held } = await setting(room)
    const { joined, named, said } = behind(room)
    await send([said])
    const { events, fates } = await held()
    for (const { eventId } of [joined, named])
      expect(events.get(eventId)).toMatchObject({ fate: 0, position: null, anchor: null })
    // By the state before it dave has never joined.
    expect(fates.get(said.eventId)).toBe('rejected')
  })

  it('that fail the rules are stored as rejected, and reject what names them', async () => {
    const room = newRoom()
    const { send, held } = await setting(room)
    const levels = room.attempt(bob, { type: 'm.room.power_levels', stateKey: '', content: { users: { [bob]: 100 } } })
    const create = room.stateEvent('m.room.create')!
    const said = room.attempt(bob, {
      type: 'm.room.message',
      content: { body: 'mine' },
      authEvents: [create, levels, room.stateEvent('m.room.member', bob)!],
    })
    await send([said])
    const { fates, events } = await held()
    expect([fates.get(levels.eventId), fates.get(said.eventId)]).toEqual(['rejected', 'rejected'])
    expect(events.get(said.eventId)!.reason).toBe('auth events: one is rejected')
  })

  it('that are not to be had are no verdict', async () => {
    const room = newRoom()
    const { send, held, one, two } = await setting(room)
    const { joined, said } = behind(room)
    for (const peer of [one, two]) peer.omit(joined)
    await send([said])
    const { staged, fates } = await held()
    expect(fates.has(said.eventId)).toBe(false)
    expect(staged[0]!.reason).toContain('auth events are not to be had')
  })

  it('that claim to stand on each other, as ids of versions 1 and 2 can, are never stored', async () => {
    const room = newRoom('2')
    const { held, inbound, one, two } = await setting(room)
    const reference = (eventId: string) => [eventId, { sha256: 'x' }]
    const [a, b] = ['$circle-a:one.example', '$circle-b:one.example'] as const
    const lied = new Map<string, string>()
    const said = room.say(bob, 'hello')
    const { name: server, key } = labServer('one.example')
    const signed = (change: object) =>
      finishEvent(room.rules, { ...(JSON.parse(said.text) as object), signatures: {}, ...change }, server, key).text
    lied.set(a, signed({ event_id: a, type: 'm.room.member', state_key: bob, auth_events: [reference(b)] }))
    lied.set(b, signed({ event_id: b, type: 'm.room.member', state_key: bob, auth_events: [reference(a)] }))
    for (const peer of [one, two]) {
      peer.answers('event', (_server, eventId) => lied.get(eventId)).answers('eventAuth', () => [...lied.values()])
    }
    const victim = signed({ event_id: '$victim:one.example', auth_events: [reference(a), reference(b)] })
    await inbound.transaction('one.example', [victim, said.text])
    await inbound.settled()
    const { fates, staged } = await held()
    expect([fates.get(said.eventId), fates.has(a), fates.has('$victim:one.example')]).toEqual([
      'accepted',
      false,
      false,
    ])
    expect(staged).toHaveLength(1)
    expect(inbound.counters.dropped.cycle).toBe(1)
  })
})

describe('working off', () => {
  it('is finished by the next process when one ends between staging and deciding', async () => {
    const room = newRoom()
    const { held, name, one } = await setting(room)
    const said = [room.say(bob, 'one'), room.say(alice, 'two')]
    const first = testInbound(database, engine, network(one), { config: { roomsAtOnce: 0 } })
    await first.transaction('one.example', texts(said))
    await first.close()
    expect((await held()).staged).toHaveLength(2)

    const other = await testRooms(database)
    const second = testInbound(database, other, network(one))
    await second.poll()
    await second.settled()
    await other.close()
    await engine.catchUp()
    const { staged, extremities: found } = await held()
    expect({ staged, found }).toEqual({ staged: [], found: [said[1]!.eventId] })
    expect((await engine.rooms.head(name)).extremities.map(({ event }) => event.eventId)).toEqual([said[1]!.eventId])
  })

  it('is done by one process at a time, and by another when the lease of the first is over', async () => {
    const room = newRoom()
    const { held, name, one } = await setting(room)
    const said = room.say(bob, 'hello')
    const lease = (until: ReturnType<typeof sql>) =>
      sql`insert into inbound_lease values (${name.roomId}, 'somebody', ${until})
        on conflict (room_id) do update set until_ts = excluded.until_ts`.execute(database.db)
    await lease(sql`9e15`)
    const inbound = testInbound(database, engine, network(one))
    await inbound.transaction('one.example', [said.text])
    await inbound.settled()
    expect((await held()).staged).toHaveLength(1)
    await lease(sql`1`)
    await inbound.poll()
    await inbound.settled()
    expect((await held()).staged).toEqual([])
    const left = await database.db.selectFrom('inbound_lease').selectAll().where('room_id', '=', name.roomId).execute()
    expect(left).toEqual([])
  })

  it('is done by another process at once when the one that has the lease is gone', async () => {
    const room = newRoom()
    const { held, name, one } = await setting(room)
    const holder = newProcessName()
    const alive = database.connect()
    await alive.connect()
    await alive.query(`set application_name = '${holder}'`)
    await sql`insert into inbound_lease values (${name.roomId}, ${holder}, 9e15)`.execute(database.db)
    const inbound = testInbound(database, engine, network(one))
    await inbound.transaction('one.example', [room.say(bob, 'hello').text])
    await inbound.settled()
    expect((await held()).staged).toHaveLength(1)
    await alive.end()
    await eventually('it is worked off', async () => {
      await inbound.poll()
      await inbound.settled()
      return (await held()).staged.length === 0
    })
  })

  it('of a room whose peers hang delays neither another room nor what is ready in the same', async () => {
    const hanging = newRoom()
    const { inbound, one, two, held: heldHanging, name } = await setting(hanging, { config: patient })
    const other = newRoom()
    const otherName = await holdRoom(engine, other)
    const releases = [one, two].flatMap((peer) => [peer.holds('missingEvents'), peer.holds('stateIds')])
    const [side] = hanging.fork(1) as [Branch]
    side.say(bob, 'missed')
    const stuck = side.say(alice, 'stuck')
    await inbound.transaction('one.example', [stuck.text])
    const ready = hanging.say(bob, 'ready')
    const said = other.say(bob, 'hello')
    const stored = storedHere(ready, said)
    await inbound.transaction('one.example', [ready.text, said.text])
    await stored
    expect((await heldHanging()).staged).toMatchObject([{ event_id: stuck.eventId }])
    for (const release of releases) release()
    await inbound.settled()
    expect((await heldHanging()).extremities).toEqual([ready.eventId, stuck.eventId].sort())
    expect((await held(database, otherName)).staged).toEqual([])
    expect(name.roomId).toBe(hanging.roomId)
  })

  it.each([
    ['stand on nothing', ['two.example'], () => undefined],
    ['stand on each other, and on nothing', ['two.example'], (before: string | undefined) => before],
    ['stand on nothing, and come twice', ['two.example', 'three.example'], () => undefined],
  ])('goes on for others beside hundreds of PDUs of a server that %s', async (_sentence, origins, parentOf) => {
    const room = newRoom('11', [bob, mia, carol])
    const { inbound, two, one, held } = await setting(room, { config: patient })
    const releases = [two.holds('missingEvents'), two.holds('stateIds')]
    const { pdu } = room.fork(1)[0]!.attempt(carol, { type: 'm.room.message', content: {} }).event
    const { name, key } = labServer('two.example')
    const hostile: ReturnType<typeof finishEvent>[] = []
    for (let at = 0; at < 900; at++) {
      const parent = parentOf(hostile.at(-1)?.eventId) ?? `$${String(at).padStart(43, 'u')}`
      hostile.push(finishEvent(room.rules, { ...pdu, prev_events: [parent] }, name, key))
    }
    for (const origin of origins)
      await inbound.transaction(
        origin,
        hostile.map(({ text }) => text),
      )
    await eventually('its gap is being filled', () => two.asked('missingEvents').length > 0)
    const [branch] = room.fork(1) as [Branch]
    branch.say(bob, 'missed')
    const late = branch.say(bob, 'after a gap')
    const ready = room.say(bob, 'ready')
    const stored = storedHere(ready, late)
    await inbound.transaction('one.example', [late.text, ready.text])
    await stored
    expect(one.asked('missingEvents')).toHaveLength(1)
    expect((await held()).staged).toHaveLength(900 * origins.length)
    for (const release of releases) release()
    await inbound.close()
    await database.db.deleteFrom('staged_pdu').where('room_id', '=', room.roomId).execute()
  })

  it('leaves a PDU staged whose keys cannot be had, and others go on', async () => {
    const clock = new TestClock()
    const room = newRoom('11', [bob, mia, carol])
    const { send, held, inbound, one, two } = await setting(room, { clock })
    two.fails('keys')
    const [side] = room.fork(1) as [Branch]
    const unsure = side.say(carol, 'hello')
    const said = room.say(bob, 'hello')
    await send([unsure, said])
    expect((await held()).staged).toMatchObject([{ event_id: unsure.eventId, attempts: 1 }])
    expect((await held()).fates.get(said.eventId)).toBe('accepted')
    two.honestly('keys')
    clock.pass(2_000)
    await inbound.poll()
    await inbound.settled()
    expect((await held()).fates.get(unsure.eventId)).toBe('accepted')
    expect(one.name).toBe('one.example')
  })

  it('takes a long chain that came in no order', async () => {
    const room = newRoom()
    const { held, inbound } = await setting(room)
    const chain = Array.from({ length: 900 }, (_, i) => room.say(bob, String(i)))
    const shuffled = [...chain].sort((a, b) => (a.eventId < b.eventId ? -1 : 1))
    const first = shuffled.splice(0, 450)
    await inbound.transaction('one.example', texts(first))
    await inbound.transaction('one.example', texts(shuffled))
    await inbound.settled()
    const { staged, extremities: found } = await held()
    expect({ staged: staged.map(({ reason }) => reason), found }).toEqual({
      staged: [],
      found: [chain.at(-1)!.eventId],
    })
  })
})

describe('the policy server', () => {
  const policy = labServer('two.example')
  const keys = { ed25519: Buffer.from(policy.key.publicKey).toString('base64').replace(/=+$/, '') }

  async function policed(members: readonly string[], options?: Parameters<typeof setting>[1]) {
    const room = newRoom('11', members)
    room.event(alice, { type: 'm.room.policy', stateKey: '', content: { via: 'two.example', public_keys: keys } })
    return { room, ...(await setting(room, options)) }
  }

  const sign = (room: Branch, pdu: JsonObject) => {
    const text = signedText(room.rules, pdu)
    return Buffer.from(policy.key.sign(Buffer.from(text)))
      .toString('base64')
      .replace(/=+$/, '')
  }

  it('is asked for a signature that is missing, which is stored with the event', async () => {
    const { room, send, held, two, name } = await policed([bob, mia, carol])
    const said = room.say(bob, 'hello')
    const signature = sign(room, said.event.pdu)
    two.answers('policySignature', () => signature)
    await send([said])
    expect((await held()).fates.get(said.eventId)).toBe('accepted')
    const stored = await engine.stores.events.byId(name.room, said.eventId)
    expect(stored!.event.pdu.signatures).toMatchObject({ 'two.example': { 'ed25519:policy_server': signature } })
  })

  it('is asked for each of thirty events of a transaction', async () => {
    const { room, send, held, two } = await policed([bob, mia, carol])
    two.answers('policySignature', (_server, pdu) => sign(room, pdu))
    const release = two.holds('policySignature')
    const said = Array.from({ length: 30 }, (_, at) => room.say(bob, String(at)))
    const taken = send(said)
    const { atOnce } = inboundConfig.asking
    await eventually('as many are asked as may be', () => two.asked('policySignature').length === atOnce)
    release()
    await taken
    const { fates, extremities: found } = await held()
    expect(said.map(({ eventId }) => fates.get(eventId))).toEqual(Array(30).fill('accepted'))
    expect(found).toEqual([said.at(-1)!.eventId])
  })

  it('that has enough to answer is no verdict: the event stays, and is taken when it can be asked', async () => {
    const clock = new TestClock()
    const config = { asking: { timeout: 1_000, atOnce: 1 } }
    const { room, send, held, inbound, two } = await policed([bob, mia, carol], { clock, config })
    two.answers('policySignature', (_server, pdu) => sign(room, pdu))
    const [release, released] = promised()
    const busy = inbound.deps.asking.ask('two.example', () => released, 300_000)
    const said = room.say(bob, 'hello')
    await send([said])
    const first = await held()
    expect(first.fates.has(said.eventId)).toBe(false)
    expect(first.staged).toMatchObject([{ event_id: said.eventId, reason: 'two.example has enough to answer' }])
    expect(two.asked('policySignature')).toEqual([])
    release()
    await busy
    await tryAgain(inbound, clock)
    expect((await held()).fates.get(said.eventId)).toBe('accepted')
  })

  it('that does not recommend an event makes it soft-failed', async () => {
    const { room, send, held, two } = await policed([bob, mia, carol])
    const said = room.say(bob, 'spam')
    await send([said])
    expect(two.asked('policySignature')).toHaveLength(1)
    const { fates, events } = await held()
    expect([fates.get(said.eventId), events.get(said.eventId)!.reason]).toEqual([
      'soft-failed',
      'the policy server does not recommend it',
    ])
  })

  it('that signs with another key than the room names does not count', async () => {
    const { room, send, held, two } = await policed([bob, mia, carol])
    two.answers('policySignature', () => 'A'.repeat(86))
    const said = room.say(bob, 'hello')
    await send([said])
    expect((await held()).fates.get(said.eventId)).toBe('soft-failed')
  })

  it('is not asked when none of its users is in the room', async () => {
    const { room, send, held, two } = await policed([bob, mia])
    const said = room.say(bob, 'hello')
    await send([said])
    expect((await held()).fates.get(said.eventId)).toBe('accepted')
    expect(two.asked('policySignature')).toEqual([])
  })

  it('is not asked about m.room.policy', async () => {
    const { room, send, held, two } = await policed([bob, mia, carol])
    const off = room.event(alice, { type: 'm.room.policy', stateKey: '', content: {} })
    await send([off])
    expect((await held()).fates.get(off.eventId)).toBe('accepted')
    expect(two.asked('policySignature')).toEqual([])
  })
})
