/** What other servers read of the rooms they are in, and of those they are not. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { ExactNumber, type JsonObject } from '../../src/protocol/json.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import { StatesForServers } from '../../src/room/states-for-servers.js'
import { backfillRoom } from '../../src/server-server/backfill/backfill-room.js'
import { getMissingPreviousEvents } from '../../src/server-server/backfill/get-missing-previous-events.js'
import { getEventAuth } from '../../src/server-server/event_auth/get-event-auth.js'
import { getEventByTimestamp } from '../../src/server-server/events/get-event-by-timestamp.js'
import { getEvent } from '../../src/server-server/events/get-event.js'
import { getRoomStateIds } from '../../src/server-server/events/get-room-state-ids.js'
import { getRoomState } from '../../src/server-server/events/get-room-state.js'
import { path } from '../support/handshake.js'
import { serverAppOf } from '../support/server-app.js'
import type { TestClient } from '../support/http.js'
import { arrivalOf, held, holdRoom, mia, receive } from '../support/inbound.js'
import { alice, bob, type Branch, carol, erin, type LabEvent, labRoom } from '../support/laboratory/index.js'
import { testDatabase } from '../support/postgres.js'
import { testRoom, testRooms, testServer, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { rooms, stores, gate, acls } = engine
afterAll(() => engine.close())

const endpoints = [
  getEvent,
  getRoomState,
  getRoomStateIds,
  getEventAuth,
  getEventByTimestamp,
  backfillRoom,
  getMissingPreviousEvents,
]
const statesForServers = new StatesForServers({ stores, gate, acls })
const config = { serverName: testServer.name, publicBaseUrl: undefined }
const from = await serverAppOf(endpoints, { config, rooms, stores, gate, acls, statesForServers } as never)
const [one, two, three] = [from('one.example'), from('two.example'), from('three.example')]

/** Every endpoint, asked about an event as one of a room. */
const questions: Record<
  string,
  (client: TestClient, roomId: string, eventId: string) => ReturnType<TestClient['get']>
> = {
  event: (client, _roomId, eventId) => client.get(path('v1', 'event', eventId)),
  state: (client, roomId, eventId) =>
    client.get(`${path('v1', 'state', roomId)}?event_id=${encodeURIComponent(eventId)}`),
  state_ids: (client, roomId, eventId) =>
    client.get(`${path('v1', 'state_ids', roomId)}?event_id=${encodeURIComponent(eventId)}`),
  event_auth: (client, roomId, eventId) => client.get(path('v1', 'event_auth', roomId, eventId)),
  backfill: (client, roomId, eventId) =>
    client.get(`${path('v1', 'backfill', roomId)}?v=${encodeURIComponent(eventId)}&limit=10`),
  get_missing_events: (client, roomId, eventId) =>
    client.post(path('v1', 'get_missing_events', roomId), { earliest_events: [], latest_events: [eventId] }),
  timestamp_to_event: (client, roomId) => client.get(`${path('v1', 'timestamp_to_event', roomId)}?ts=0&dir=f`),
}
const ask = (client: TestClient, question: string, room: Branch, event: LabEvent) =>
  questions[question]!(client, room.roomId, event.eventId)

const missing = (client: TestClient, room: Branch, body: JsonObject) =>
  client.post(path('v1', 'get_missing_events', room.roomId), body)
const backfill = (client: TestClient, room: Branch, events: readonly LabEvent[], limit: number) =>
  client.get(
    `${path('v1', 'backfill', room.roomId)}?${events.map(({ eventId }) => `v=${encodeURIComponent(eventId)}&`).join('')}limit=${limit}`,
  )

const pdu = ({ text }: LabEvent): unknown => JSON.parse(text)
const pdus = (events: readonly LabEvent[]) => events.map(pdu)
const sorted = (items: readonly unknown[]) => items.map((item) => JSON.stringify(item)).sort()
const redactedOf = (event: LabEvent) => ({ ...(pdu(event) as JsonObject), content: {} })

/** A room of one.example and this server. */
const newRoom = (version = '11', members: readonly string[] = [mia, bob]) => labRoom({ version, members })

describe('an event', () => {
  it.each(['1', '5', '11', '12'])('of a room of version %s is answered as it was signed', async (version) => {
    const room = newRoom(version)
    const content =
      Number(version) < 6 ? { n: new ExactNumber('1.0'), big: new ExactNumber('12345678901234567890') } : {}
    const said = room.event(alice, { type: 'org.example.said', content: { ...content, text: 'ä' } })
    await holdRoom(engine, room)
    const response = await fetch(`${one.baseUrl}${path('v1', 'event', said.eventId)}`, {
      headers: { Authorization: 'Bearer one.example' },
    })
    const text = await response.text()
    expect(text).toMatch(new RegExp(`^{"origin":"${testServer.name}","origin_server_ts":[0-9]+,"pdus":\\[`))
    expect(text.slice(text.indexOf('[') + 1, -2)).toBe(said.text)
  })

  it('that was rejected, or is not here, is not found', async () => {
    const room = newRoom()
    await holdRoom(engine, room)
    const refused = room.attempt(bob, { type: 'm.room.power_levels', stateKey: '', content: {} })
    const name = (await stores.names.find(room.roomId)) as KnownRoom
    expect((await rooms.receive(name, arrivalOf(refused))).event.fate).toBe('rejected')
    for (const question of ['event', 'state', 'state_ids', 'event_auth']) {
      expect((await ask(one, question, room, refused)).status).toBe(404)
      expect((await questions[question]!(one, room.roomId, '$nowhere:one.example')).status).toBe(404)
    }
    expect((await ask(one, 'backfill', room, refused)).body.pdus).not.toContainEqual(pdu(refused))
  })

  it('of versions in which servers choose ids is that of the room the server is in', async () => {
    const [theirs, other] = ['1', '1'].map((version) => labRoom({ version, members: [mia], creator: alice }))
    const elsewhere = labRoom({ version: '1', members: [mia], creator: erin })
    const id = '$chosen:one.example'
    const said = theirs!.event(alice, { type: 'm.room.message', content: { body: 'ours' }, pdu: { event_id: id } })
    elsewhere.event(erin, { type: 'm.room.message', content: { body: 'not yours' }, pdu: { event_id: id } })
    await holdRoom(engine, elsewhere)
    await holdRoom(engine, other!)
    await holdRoom(engine, theirs!)
    expect((await one.get(path('v1', 'event', id))).body.pdus).toEqual([pdu(said)])
    expect((await three.get(path('v1', 'event', id))).body.pdus[0].content).toEqual({ body: 'not yours' })
    expect((await two.get(path('v1', 'event', id))).status).toBe(404)
  })
})

describe('the state', () => {
  it('is that before the event, with the auth chain of all of it, as events and as ids', async () => {
    const room = newRoom()
    const before = [...room.state.values()]
    const topic = room.topic(alice, 'new')
    room.topic(alice, 'newer')
    await holdRoom(engine, room)
    const { body: ids } = await ask(one, 'state_ids', room, topic)
    expect(sorted(ids.pdu_ids)).toEqual(sorted(before))
    const { body } = await ask(one, 'state', room, topic)
    expect(sorted(body.pdus)).toEqual(sorted(before.map((id) => pdu(room.judged.get(id)))))
    const chain = chainOf(
      room,
      before.map((id) => room.judged.get(id)),
    )
    expect(sorted(ids.auth_chain_ids)).toEqual(sorted(chain.map(({ eventId }) => eventId)))
    expect(sorted(body.auth_chain)).toEqual(sorted(pdus(chain)))
  })

  it('is not known of an event that came as part of another state', async () => {
    const room = newRoom()
    const topic = room.topic(alice, 'old')
    room.topic(alice, 'new')
    const events = room.events.filter((event) => event !== topic)
    const name = await holdRoom(engine, room, events.slice(0, -1))
    await rooms.receive(name, { ...arrivalOf(topic), kind: 'outlier' })
    expect((await ask(one, 'state', room, topic)).status).toBe(404)
    expect((await ask(one, 'state_ids', room, topic)).status).toBe(404)
    expect((await ask(one, 'event_auth', room, topic)).status).toBe(200)
    expect((await ask(one, 'event', room, topic)).body.pdus).toEqual([redactedOf(topic)])
  })

  it('of more members than are read at a time is whole', async () => {
    const members = Array.from({ length: 620 }, (_, i) => user(`member${i}`))
    const name = (await testRoom(engine, mia)) as KnownRoom
    const drafts = members.map((sender) => ({
      type: 'm.room.member',
      stateKey: sender,
      sender,
      content: { membership: 'join' },
    }))
    for (let at = 0; at < drafts.length; at += 20) await rooms.sendAll(name, drafts.slice(at, at + 20))
    const content = { membership: 'join' }
    await rooms.send(name, { type: 'm.room.member', stateKey: carol, sender: carol, content })
    const last = await rooms.send(name, { type: 'm.room.message', sender: mia, content: {} })
    const { body } = await questions['state']!(two, name.roomId, last.event.eventId)
    const keys = new Set(body.pdus.map(({ type, state_key }: JsonObject) => `${String(type)} ${String(state_key)}`))
    for (const member of [...members, mia, carol]) expect(keys).toContain(`m.room.member ${member}`)
    const { body: ids } = await questions['state_ids']!(two, name.roomId, last.event.eventId)
    expect(ids.pdu_ids).toHaveLength(body.pdus.length)
    expect(ids.auth_chain_ids).toHaveLength(body.auth_chain.length)
  })
})

function chainOf(room: Branch, events: readonly LabEvent[]): LabEvent[] {
  const chain = new Set<string>()
  const open = events.flatMap(({ event }) => event.authEvents)
  for (let id = open.pop(); id !== undefined; id = open.pop()) {
    if (chain.has(id)) continue
    chain.add(id)
    open.push(...room.judged.get(id).event.authEvents)
  }
  return [...chain].map((id) => room.judged.get(id))
}

describe('the auth chain of an event', () => {
  it('goes back to the creation of the room', async () => {
    const room = newRoom()
    room.levels(alice, room.levelsWith({ users: { [bob]: 50 } }))
    const kick = room.kick(bob, mia)
    room.join(mia)
    await holdRoom(engine, room)
    const { body } = await ask(one, 'event_auth', room, kick)
    expect(sorted(body.auth_chain)).toEqual(sorted(pdus(chainOf(room, [kick]))))
  })

  it('has the create event also where no event names it', async () => {
    const room = newRoom('12')
    const topic = room.topic(alice, 'tea')
    await holdRoom(engine, room)
    const [create] = room.events
    const { body } = await ask(one, 'event_auth', room, topic)
    expect(sorted(body.auth_chain)).toEqual(sorted(pdus([create!, ...chainOf(room, [topic])])))
    expect((await ask(one, 'event_auth', room, create!)).body.auth_chain).toEqual([])
  })
})

describe('history', () => {
  it('begins with the events that are named, and goes back as far as is asked', async () => {
    const room = newRoom()
    const said = [1, 2, 3, 4].map((n) => room.say(alice, `${n}`))
    await holdRoom(engine, room)
    expect((await backfill(one, room, [said[2]!], 2)).body.pdus).toEqual(pdus([said[2]!, said[1]!]))
    expect((await backfill(one, room, [said[3]!, said[1]!], 3)).body.pdus).toEqual(pdus([said[3]!, said[1]!, said[2]!]))
    expect((await backfill(one, room, [said[3]!], 1_000_000)).body.pdus).toHaveLength(room.events.length)
    expect((await backfill(one, room, [said[3]!], 0)).body.pdus).toEqual([])
    expect((await backfill(one, room, [said[3]!], -1)).body.pdus).toEqual([])
  })

  it('says what is missing between events, the oldest first, each once', async () => {
    const room = newRoom()
    const first = room.say(alice, 'first')
    const [left, right] = room.fork()
    const [a, b] = [left!.say(alice, 'left'), right!.say(bob, 'right')]
    room.merge(left!, right!)
    const [second, last] = [room.say(alice, 'second'), room.say(alice, 'last')]
    await holdRoom(engine, room)
    const gap = { earliest_events: [first.eventId], latest_events: [last.eventId] }
    const { body } = await missing(one, room, gap)
    expect(body.events).toHaveLength(3)
    expect(body.events[2]).toEqual(pdu(second))
    expect(sorted(body.events.slice(0, 2))).toEqual(sorted(pdus([a, b])))
    expect((await missing(one, room, { ...gap, limit: 1 })).body.events).toEqual([pdu(second)])
    expect((await missing(one, room, { ...gap, limit: -5 })).body.events).toEqual([])
    expect((await missing(one, room, { ...gap, min_depth: a.event.depth + 1 })).body.events).toEqual([pdu(second)])
    expect((await missing(one, room, { ...gap, min_depth: 1e300 })).body.events).toEqual([])
    expect((await missing(one, room, { ...gap, latest_events: 'all' })).status).toBe(400)
  })

  it('has soft-failed events where those that are asked for name them, and leaves rejected ones out', async () => {
    const room = newRoom()
    const [left, right] = room.fork()
    const ban = left!.ban(alice, bob)
    const evading = right!.say(bob, 'evading')
    const name = await holdRoom(
      engine,
      room,
      room.events.filter((event) => event !== evading),
    )
    await receive(engine, name, [evading])
    expect((await held(database, name)).fates.get(evading.eventId)).toBe('soft-failed')
    expect((await backfill(one, room, [ban], 50)).body.pdus).not.toContainEqual(pdu(evading))
    expect((await backfill(one, room, [evading], 50)).body.pdus).toContainEqual(pdu(evading))
    expect((await ask(one, 'event', room, evading)).body.pdus).toEqual([pdu(evading)])
    room.merge(left!, right!)
    const after = room.say(alice, 'after')
    await receive(engine, name, [after])
    expect((await backfill(one, room, [after], 3)).body.pdus).toContainEqual(pdu(evading))
    const { body } = await missing(one, room, { earliest_events: [], latest_events: [after.eventId], limit: 2 })
    expect(sorted(body.events)).toEqual(sorted(pdus([ban, evading])))
  })

  it('is walked within bounds, however many ways lead through it', async () => {
    const room = newRoom()
    const said = [room.say(alice, '0')]
    for (let n = 1; n < 60; n++) {
      said.push(room.event(alice, { type: 'm.room.message', content: { n }, prevEvents: said.slice(-20) }))
    }
    await holdRoom(engine, room)
    const began = performance.now()
    const { body } = await backfill(one, room, [said.at(-1)!], 100)
    expect(body.pdus.length).toBeGreaterThan(40)
    expect(performance.now() - began).toBeLessThan(5_000)
  })

  it('before a server came is redacted for it, but for what is in the state it may read', async () => {
    const room = newRoom()
    room.event(alice, {
      type: 'm.room.history_visibility',
      stateKey: '',
      content: { history_visibility: 'joined' },
    })
    const old = room.topic(alice, 'old')
    const secret = room.say(alice, 'secret')
    const topic = room.topic(alice, 'current')
    const after = room.say(alice, 'secret too')
    const joined = room.join(carol)
    const open = room.say(alice, 'open')
    await holdRoom(engine, room)
    expect((await ask(two, 'event', room, secret)).body.pdus).toEqual([redactedOf(secret)])
    expect((await ask(two, 'event', room, topic)).body.pdus).toEqual([pdu(topic)])
    const history = await backfill(two, room, [open], 6)
    expect(history.body.pdus).toEqual([
      ...pdus([open, joined]),
      redactedOf(after),
      pdu(topic),
      redactedOf(secret),
      redactedOf(old),
    ])
    const { body } = await missing(two, room, { earliest_events: [], latest_events: [topic.eventId], limit: 1 })
    expect(body.events).toEqual([redactedOf(secret)])
    // The topic of then is not in the state of now, and the server was not there.
    const then = (await ask(two, 'state', room, secret)).body.pdus as JsonObject[]
    expect(then).toContainEqual(redactedOf(old))
    expect(then).toContainEqual(pdu(room.events[0]!))
    expect((await ask(two, 'state', room, joined)).body.pdus).toContainEqual(pdu(topic))
    expect((await ask(one, 'state', room, secret)).body.pdus).toContainEqual(pdu(old))
  })
})

describe('the event closest to a time', () => {
  const closest = (client: TestClient, room: Branch, ts: number, dir: string) =>
    client.get(`${path('v1', 'timestamp_to_event', room.roomId)}?ts=${ts}&dir=${dir}`)

  it('is found in both directions', async () => {
    const room = newRoom()
    const [first, last] = [room.say(alice, 'first'), room.say(alice, 'last')]
    await holdRoom(engine, room)
    const [at, end] = [first.event.originServerTs, last.event.originServerTs]
    const found = ({ eventId, event }: LabEvent) => ({ event_id: eventId, origin_server_ts: event.originServerTs })
    expect((await closest(one, room, at, 'f')).body).toEqual(found(first))
    expect((await closest(one, room, at, 'b')).body).toEqual(found(first))
    expect((await closest(one, room, at + 1, 'f')).body).toEqual(found(last))
    expect((await closest(one, room, end - 1, 'b')).body).toEqual(found(first))
    expect(await closest(one, room, end + 1, 'f')).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    expect((await closest(one, room, end, 'sideways')).status).toBe(400)
    expect((await closest(one, room, 1.5, 'f')).status).toBe(400)
  })

  it('is one that the server may see, however many it may not', async () => {
    const room = newRoom()
    room.event(alice, { type: 'm.room.history_visibility', stateKey: '', content: { history_visibility: 'joined' } })
    for (let n = 0; n < 60; n++) {
      // All at one time: pages must not stand still.
      room.event(alice, { type: 'm.room.message', content: { n }, pdu: { origin_server_ts: 1_600_000_000_000 } })
    }
    const joined = room.join(carol)
    await holdRoom(engine, room)
    const { body } = await closest(two, room, 1_600_000_000_000, 'f')
    expect(room.judged.get(body.event_id).event.originServerTs).toBeLessThanOrEqual(joined.event.originServerTs)
    const name = (await stores.names.find(room.roomId))!
    const found = (await stores.events.byId(name.room, body.event_id))!
    expect(await gate.readable(name, { kind: 'server', server: 'two.example' }, [found])).toHaveLength(1)
  })
})

describe('a server', () => {
  it('that is not in a room gets nothing of it, whatever it asks and by whichever room', async () => {
    const room = newRoom()
    const said = room.say(alice, 'said among us')
    await holdRoom(engine, room)
    const theirs = labRoom({ creator: erin, members: [mia] })
    const own = theirs.say(erin, 'own')
    await holdRoom(engine, theirs)
    for (const [question, put] of Object.entries(questions)) {
      const byRoom = await put(three, room.roomId, said.eventId)
      expect([403, 404]).toContain(byRoom.status)
      const byOther = await put(three, theirs.roomId, said.eventId)
      const told = JSON.stringify(byOther.body)
      if (question !== 'timestamp_to_event') {
        expect(byOther.body.pdus ?? byOther.body.events ?? []).toEqual([])
        expect([200, 404]).toContain(byOther.status)
      }
      for (const secret of [said.eventId, 'said among us', room.roomId, alice]) expect(told).not.toContain(secret)
      expect((await put(three, theirs.roomId, own.eventId)).status).toBe(200)
      expect((await put(three, '!nowhere:one.example', said.eventId)).status).toBe(byRoom.status)
    }
  })

  it('that left a room, or was never joined, is in it no more', async () => {
    const room = newRoom('11', [mia, carol])
    room.leave(carol)
    room.invite(alice, erin)
    const said = room.say(alice, 'said')
    await holdRoom(engine, room)
    for (const question of Object.keys(questions)) {
      for (const client of [two, three]) expect([403, 404]).toContain((await ask(client, question, room, said)).status)
    }
  })

  it('that the ACL of a room denies gets nothing of it', async () => {
    const room = newRoom('11', [mia, carol])
    const said = room.say(alice, 'said')
    room.event(alice, { type: 'm.room.server_acl', stateKey: '', content: { allow: ['*'], deny: ['two.*'] } })
    await holdRoom(engine, room)
    for (const question of Object.keys(questions)) {
      const denied = await ask(two, question, room, said)
      expect({ question, status: denied.status, errcode: denied.body.errcode }).toEqual({
        question,
        status: 403,
        errcode: 'M_FORBIDDEN',
      })
      expect((await ask(one, question, room, said)).status).toBe(200)
    }
  })
})
