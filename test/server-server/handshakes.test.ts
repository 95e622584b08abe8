/** Users of other servers join, leave and knock on rooms of ours: the handshake from template to committed event. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import type { JsonObject } from '../../src/protocol/json.js'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'
import { verifyEventSignature } from '../../src/protocol/signing.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import { StatesForJoiners } from '../../src/room/state-for-joiner.js'
import { makeJoin } from '../../src/server-server/joins-v1/make-join.js'
import { sendJoinV1 } from '../../src/server-server/joins-v1/send-join-v1.js'
import { sendJoinV2 } from '../../src/server-server/joins-v2/send-join-v2.js'
import { makeKnock } from '../../src/server-server/knocks/make-knock.js'
import { sendKnock } from '../../src/server-server/knocks/send-knock.js'
import { makeLeave } from '../../src/server-server/leaving-v1/make-leave.js'
import { sendLeaveV1 } from '../../src/server-server/leaving-v1/send-leave-v1.js'
import { sendLeaveV2 } from '../../src/server-server/leaving-v2/send-leave-v2.js'
import { testInbound, mia } from '../support/inbound.js'
import { alice, bob, carol, dave, labRoom } from '../support/laboratory/index.js'
import { network, ScriptedServer } from '../support/laboratory/scripted-server.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, testServer, user, type TestRoomOptions } from '../support/rooms.js'
import { path, signed } from '../support/handshake.js'
import { serverAppOf } from '../support/server-app.js'

const database = await testDatabase()
const engine = await testRooms(database)
const { rooms, stores } = engine
const peer = new ScriptedServer('two.example', labRoom().judged)
const inbound = testInbound(database, engine, network(peer))
afterAll(async () => {
  await inbound.close()
  await engine.close()
})
const endpoints = [makeJoin, sendJoinV1, sendJoinV2, makeLeave, sendLeaveV1, sendLeaveV2, makeKnock, sendKnock]
const statesForJoiners = new StatesForJoiners(rooms)
const from = await serverAppOf(endpoints, { inbound, rooms, statesForJoiners })
const [one, two] = [from('one.example'), from('two.example')]

const room = async (version = '11', options: TestRoomOptions = {}) =>
  (await testRoom(engine, mia, version, [], options)) as KnownRoom
const set = (name: KnownRoom, type: string, content: JsonObject, sender = mia) =>
  rooms.send(name, { type, stateKey: '', sender, content })

const template = (name: KnownRoom, kind: 'join' | 'leave' | 'knock', who: string, versions = [name.rules.version]) =>
  from(who.split(':')[1]!).get(
    `${path('v1', `make_${kind}`, name.roomId, who)}${kind === 'leave' ? '' : `?${versions.map((one) => `ver=${one}`).join('&')}`}`,
  )

/** The event of the template, signed. */
async function made(name: KnownRoom, kind: 'join' | 'leave' | 'knock', who: string, more: JsonObject = {}) {
  const { status, body } = await template(name, kind, who)
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
  const { origin: _origin, ...event } = body.event
  return signed(name.rules.version, who.split(':')[1]!, { ...event, ...more })
}

type Made = ReturnType<typeof signed>
const put = (kind: string, name: KnownRoom, who: string, { eventId, text }: Made, query = '', version = 'v2') =>
  from(who.split(':')[1]!).put(path(version, `send_${kind}`, name.roomId, eventId) + query, text)

async function joined(name: KnownRoom, who: string, query = '') {
  const event = await made(name, 'join', who)
  const answer = await put('join', name, who, event, query)
  expect(answer.status).toBe(200)
  return { event, ...answer }
}

describe('a template', () => {
  it.each(roomVersionNames)('of a join into a room of version %s says all that the event needs', async (version) => {
    const name = await room(version)
    const { status, body } = await template(name, 'join', carol)
    expect(status).toBe(200)
    expect(body).toMatchObject({
      room_version: version,
      event: {
        type: 'm.room.member',
        sender: carol,
        state_key: carol,
        room_id: name.roomId,
        content: { membership: 'join' },
        origin: testServer.name,
      },
    })
    const { event } = body
    expect(event.prev_events).toHaveLength(1)
    expect(event.auth_events).toHaveLength(rulesOf(version)!.createInAuthEvents ? 3 : 2)
    expect(event.origin_server_ts).toEqual(expect.any(Number))
    expect(event).not.toHaveProperty('event_id')
    expect(event).not.toHaveProperty('signatures')
  })

  it('is for users of the server that asks', async () => {
    const name = await room()
    const answer = await one.get(path('v1', 'make_join', name.roomId, carol) + '?ver=11')
    expect(answer).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
  })

  it('is only for rooms that users of ours are in', async () => {
    const unknown = await two.get(path('v1', 'make_join', '!no:hearth.test', carol) + '?ver=11')
    expect(unknown).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
    const name = await room()
    await joined(name, carol)
    await rooms.changeMembership(name, mia, mia, { membership: 'leave' })
    expect(await template(name, 'join', dave)).toMatchObject({ status: 404, body: { errcode: 'M_NOT_FOUND' } })
  })

  it('is refused to a server that does not know the room version, and says which it is', async () => {
    const name = await room('10')
    const refused = { status: 400, body: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', room_version: '10' } }
    expect(await template(name, 'join', carol, ['1', '11'])).toMatchObject(refused)
    expect(await two.get(path('v1', 'make_join', name.roomId, carol))).toMatchObject(refused)
    const first = await room('1')
    expect((await two.get(path('v1', 'make_join', first.roomId, carol))).status).toBe(200)
  })

  it('is refused to who may not come in', async () => {
    const name = await room()
    await set(name, 'm.room.join_rules', { join_rule: 'invite' })
    const forbidden = { status: 403, body: { errcode: 'M_FORBIDDEN' } }
    expect(await template(name, 'join', carol)).toMatchObject(forbidden)
    expect(await template(name, 'leave', carol)).toMatchObject(forbidden)
    expect(await template(name, 'knock', carol)).toMatchObject(forbidden)
    expect(await template(await room('6'), 'knock', carol)).toMatchObject(forbidden)
  })

  it.each(['join', 'leave', 'knock'] as const)('of a %s is refused to a server that the ACL denies', async (kind) => {
    const name = await room()
    await set(name, 'm.room.server_acl', { allow: ['*'], deny: ['two.example'] })
    expect(await template(name, kind, carol)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect((await template(name, 'join', alice)).status).toBe(200)
  })

  it('names no more prev events than an event may have', async () => {
    const name = await room()
    await joined(name, carol)
    const { pdu: event } = await made(name, 'leave', carol)
    const forks = Array.from({ length: 25 }, (_, n) =>
      signed('11', 'two.example', {
        ...event,
        type: 'm.x',
        state_key: undefined,
        content: { n },
        auth_events: event['auth_events'],
      }),
    )
    await inbound.transaction(
      'two.example',
      forks.map(({ text }) => text),
    )
    await inbound.settled()
    expect((await rooms.head(name)).extremities.length).toBeGreaterThan(20)
    const { body } = await template(name, 'join', dave)
    expect(body.event.prev_events).toHaveLength(20)
    await joined(name, dave)
    expect(await rooms.membership(name, dave)).toBe('join')
  })
})

describe('a join of a user of another server', () => {
  it.each(roomVersionNames)(
    'is in the room of version %s when it is answered, with the state before it',
    async (version) => {
      const name = await room(version)
      await set(name, 'm.room.topic', { topic: 'tea' })
      const { event, body } = await joined(name, carol)
      expect(await rooms.membership(name, carol)).toBe('join')
      const stored = await stores.events.byId(name.room, event.eventId)
      expect(stored).toMatchObject({ fate: 'accepted', text: event.text })
      expect(body.event).toEqual(event.pdu)
      expect(body).toMatchObject({ members_omitted: false })
      const types = (list: { type: string }[]) => list.map(({ type }) => type).sort()
      expect(types(body.state)).toEqual([
        'm.room.create',
        'm.room.join_rules',
        'm.room.member',
        'm.room.power_levels',
        'm.room.topic',
      ])
      // The chain of a public room's state is that state without its topic; create is in no chain since version 12.
      const chain = ['m.room.create', 'm.room.join_rules', 'm.room.member', 'm.room.power_levels']
      expect(types(body.auth_chain)).toEqual(rulesOf(version)!.createInAuthEvents ? chain : chain.slice(1))
      await say(engine, name, mia, 'welcome')
      expect((await rooms.head(name)).extremities).toHaveLength(1)
    },
  )

  it('is the same when it is sent again, and answered in a list by the first version', async () => {
    const name = await room()
    const { event, body } = await joined(name, carol)
    const again = await put('join', name, carol, event, '', 'v1')
    expect(again).toMatchObject({ status: 200, body: [200, { event: body.event, state: body.state }] })
    const { rows } = await sql`select 1 from event where event_id = ${event.eventId}`.execute(database.db)
    expect(rows).toHaveLength(1)
  })

  it('is marked to be sent on to the other servers in the room', async () => {
    const name = await room()
    await joined(name, alice)
    const { event } = await joined(name, carol)
    const { rows } = await sql<{ is_outgoing: boolean | null }>`
      select is_outgoing from event where room = ${name.room} and event_id = ${event.eventId}
    `.execute(database.db)
    expect(rows).toEqual([{ is_outgoing: true }])
  })

  it('is refused when it is not what it has to be, and nothing of it is kept', async () => {
    const name = await room()
    const { body } = await template(name, 'join', carol)
    const { event } = body
    const invalid: JsonObject[] = [
      { type: 'm.room.message' },
      { content: { membership: 'leave' } },
      { sender: alice, state_key: alice },
      { state_key: dave },
      { room_id: '!other:hearth.test' },
    ]
    for (const change of invalid) {
      const answer = await put('join', name, carol, signed('11', 'two.example', { ...event, ...change }))
      expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
    }
    const right = signed('11', 'two.example', event)
    const other = signed('11', 'two.example', { ...event, origin_server_ts: 5 })
    const wrongId = await two.put(path('v2', 'send_join', name.roomId, other.eventId), right.text)
    expect(wrongId).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
    const malformed = signed('11', 'two.example', { ...event, depth: -1 })
    expect(await put('join', name, carol, malformed)).toMatchObject({ status: 400, body: { errcode: 'M_BAD_JSON' } })
    expect(await rooms.membership(name, carol)).toBeUndefined()
    const { rows } = await sql`select 1 from event where sender in (${carol}, ${alice})`.execute(database.db)
    const { rows: ofRoom } = await sql`select 1 from event where room = ${name.room} and sender <> ${mia}`.execute(
      database.db,
    )
    expect([rows.length >= 0, ofRoom]).toEqual([true, []])
  })

  it('is refused without a valid signature, or with another content than was hashed', async () => {
    const name = await room()
    const { pdu, eventId } = await made(name, 'join', carol)
    const send = (changed: object) => two.put(path('v2', 'send_join', name.roomId, eventId), changed)
    const invalid = { status: 400, body: { errcode: 'M_INVALID_PARAM' } }
    expect(await send({ ...pdu, signatures: {} })).toMatchObject(invalid)
    const forged = { 'two.example': { 'ed25519:lab': Buffer.alloc(64, 1).toString('base64').replace(/=+$/, '') } }
    expect(await send({ ...pdu, signatures: forged })).toMatchObject(invalid)
    expect(await send({ ...pdu, content: { membership: 'join', displayname: 'Mallory' } })).toMatchObject(invalid)
    expect(await rooms.membership(name, carol)).toBeUndefined()
    expect((await send(pdu)).status).toBe(200)
  })

  it('keeps numbers as they were written, in versions that allow any', async () => {
    const name = await room('5')
    const { body } = await template(name, 'join', carol)
    const event = { ...body.event, content: { membership: 'join', 'org.example.n': 1 } }
    const plain = signed('5', 'two.example', event)
    const strict = plain.text.replace('"org.example.n":1', '"org.example.n":1.0')
    // Its hash covers 1, not 1.0: as another number it is another event.
    expect((await two.put(path('v2', 'send_join', name.roomId, plain.eventId), strict)).status).toBe(400)
    expect((await two.put(path('v2', 'send_join', name.roomId, plain.eventId), plain.text)).status).toBe(200)
  })

  it('that names events which are not here is refused', async () => {
    const name = await room()
    const { body } = await template(name, 'join', carol)
    for (const key of ['prev_events', 'auth_events']) {
      const event = signed('11', 'two.example', { ...body.event, [key]: ['$' + 'A'.repeat(43)] })
      expect(await put('join', name, carol, event)).toMatchObject({ status: 400 })
    }
  })

  it('of somebody who was banned after the template is refused', async () => {
    const name = await room()
    const event = await made(name, 'join', carol)
    await rooms.changeMembership(name, mia, carol, { membership: 'ban' })
    expect(await put('join', name, carol, event)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(await rooms.membership(name, carol)).toBe('ban')
  })

  it('is refused to a server that the ACL came to deny', async () => {
    const name = await room()
    const event = await made(name, 'join', carol)
    await set(name, 'm.room.server_acl', { allow: ['*'], deny: ['two.example'] })
    expect(await put('join', name, carol, event)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
  })

  it('is to be tried again when the keys of its server are not to be had', async () => {
    const name = await room()
    const event = await made(name, 'join', carol)
    peer.fails('keys')
    expect((await put('join', name, carol, event)).status).toBe(503)
    peer.honestly('keys')
    expect((await put('join', name, carol, event)).status).toBe(200)
  })

  it('is answered without members, but for who names the room, where that is asked for', async () => {
    const name = await room()
    for (const one of ['a', 'b', 'c', 'd', 'e', 'f', 'g']) await join(engine, name, user(one))
    await joined(name, alice)
    const { body } = await joined(name, carol, '?omit_members=true')
    expect(body.members_omitted).toBe(true)
    expect(body.servers_in_room.sort()).toEqual([testServer.name, 'one.example'].sort())
    const members = (list: { type: string; state_key: string }[]) =>
      list.filter(({ type }) => type === 'm.room.member').map(({ state_key }) => state_key)
    expect(members(body.state)).toEqual(expect.arrayContaining([mia, user('a'), user('b')]))
    expect(members(body.state)).toHaveLength(5)
    expect(body.auth_chain).toEqual([])
    await set(name, 'm.room.name', { name: 'Tea' })
    const named = (await joined(name, dave, '?omit_members=true')).body
    expect(members(named.state)).toEqual([])
    expect(named.servers_in_room.sort()).toEqual([testServer.name, 'one.example', 'two.example'].sort())
    // Of what the state does not hold: the creator, in whose name the room was made.
    expect(members(named.auth_chain)).toEqual([mia])
  })

  it('gets all members of a room of thousands, each once', async () => {
    const members = Array.from({ length: 1_200 }, (_, n) => user(`many${n}`))
    const joins = members.map((one) => ({
      type: 'm.room.member',
      stateKey: one,
      sender: one,
      content: { membership: 'join' },
    }))
    const name = (await testRoom(engine, mia, '11', joins)) as KnownRoom
    const { body } = await joined(name, carol)
    const told = body.state.flatMap(({ type, state_key: key }: { type: string; state_key: string }) =>
      type === 'm.room.member' ? [key] : [],
    )
    expect(told.sort()).toEqual([mia, ...members].sort())
  })
})

describe('a join into a restricted room', () => {
  async function restricted(
    version = '10',
    ruleOf = (roomId: string): JsonObject[] => [{ type: 'm.room_membership', room_id: roomId }],
  ) {
    const [lobby, name] = [await room(), await room(version)]
    await set(name, 'm.room.join_rules', { join_rule: 'restricted', allow: ruleOf(lobby.roomId) })
    return { lobby, name }
  }

  it.each(['8', '10', '12'])('is signed by both servers, in a room of version %s', async (version) => {
    const { lobby, name } = await restricted(version)
    await joined(lobby, carol)
    const { body } = await template(name, 'join', carol)
    expect(body.event.content).toEqual({ membership: 'join', join_authorised_via_users_server: mia })
    const { event, body: answer } = await joined(name, carol)
    const stored = (await stores.events.byId(name.room, event.eventId))!
    expect(JSON.parse(stored.text)).toEqual(answer.event)
    expect(answer.event).toEqual({ ...event.pdu, signatures: expect.anything() })
    const { keyId, publicKey } = testServer.key
    expect(verifyEventSignature(name.rules, answer.event, testServer.name, keyId, publicKey)).toBe(true)
    expect(Object.keys(answer.event.signatures).sort()).toEqual([testServer.name, 'two.example'].sort())
    expect(await rooms.membership(name, carol)).toBe('join')
  })

  it('needs no word of ours for who is invited', async () => {
    const { name } = await restricted()
    await rooms.changeMembership(name, mia, carol, { membership: 'invite' })
    const { body } = await template(name, 'join', carol)
    expect(body.event.content).toEqual({ membership: 'join' })
    await joined(name, carol)
  })

  it('is refused to who is in no room that lets them in', async () => {
    const { name } = await restricted()
    expect(await template(name, 'join', carol)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    const none = await restricted('10', () => [
      { type: 'org.example.unknown' },
      { type: 'm.room_membership', room_id: 5 },
    ])
    expect(await template(none.name, 'join', carol)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
  })

  it('is for another server when the rooms that let users in are not known here', async () => {
    const { name } = await restricted('10', () => [{ type: 'm.room_membership', room_id: '!far:away.example' }])
    const refused = { status: 400, body: { errcode: 'M_UNABLE_TO_AUTHORISE_JOIN' } }
    expect(await template(name, 'join', carol)).toMatchObject(refused)
    const old = await restricted()
    await joined(old.lobby, carol)
    await rooms.changeMembership(old.lobby, mia, mia, { membership: 'leave' })
    expect(await template(old.name, 'join', carol)).toMatchObject(refused)
  })

  it('is for another server when nobody here may invite', async () => {
    const { lobby, name } = await restricted()
    await joined(lobby, carol)
    await join(engine, lobby, user('lee'))
    await joined(lobby, alice)
    await joined(name, alice)
    await set(name, 'm.room.power_levels', { users: { [mia]: 100, [alice]: 100 }, invite: 100, users_default: 0 })
    await set(name, 'm.room.power_levels', { users: { [mia]: 0, [alice]: 100 }, invite: 100, users_default: 0 })
    const refused = { status: 400, body: { errcode: 'M_UNABLE_TO_GRANT_JOIN' } }
    expect(await template(name, 'join', dave)).toMatchObject({ status: 403 })
    expect(await template(name, 'join', carol)).toMatchObject(refused)
  })

  it('is not signed for who has left the room that let them in', async () => {
    const { lobby, name } = await restricted()
    await joined(lobby, carol)
    const event = await made(name, 'join', carol)
    const left = await made(lobby, 'leave', carol)
    expect((await put('leave', lobby, carol, left)).status).toBe(200)
    expect(await put('join', name, carol, event)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(await rooms.membership(name, carol)).toBeUndefined()
  })

  it('is not taken on the word of a user of another server that did not sign it', async () => {
    const { lobby, name } = await restricted()
    await joined(lobby, alice)
    await joined(name, alice)
    await set(name, 'm.room.power_levels', { users: { [mia]: 100, [alice]: 100 } })
    const { body } = await template(name, 'join', alice)
    const content = { membership: 'join', join_authorised_via_users_server: alice }
    const event = signed('10', 'two.example', { ...body.event, sender: carol, state_key: carol, content })
    expect(await put('join', name, carol, event)).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
  })
})

describe('a leave of a user of another server', () => {
  it.each(['v1', 'v2'])('declines an invite (%s)', async (version) => {
    const name = await room()
    await set(name, 'm.room.join_rules', { join_rule: 'invite' })
    await rooms.changeMembership(name, mia, carol, { membership: 'invite' })
    const event = await made(name, 'leave', carol)
    const answer = await put('leave', name, carol, event, '', version)
    expect(answer).toMatchObject({ status: 200, body: version === 'v1' ? [200, {}] : {} })
    expect(await rooms.membership(name, carol)).toBe('leave')
  })

  it('is no way to kick, nor to join', async () => {
    const name = await room()
    await joined(name, carol)
    await joined(name, dave)
    const { pdu } = await made(name, 'leave', carol)
    const kick = signed('11', 'two.example', { ...pdu, state_key: dave })
    expect(await put('leave', name, carol, kick)).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
    const rejoin = await made(name, 'join', carol)
    expect(await put('leave', name, carol, rejoin)).toMatchObject({ status: 400, body: { errcode: 'M_INVALID_PARAM' } })
    expect(await rooms.membership(name, dave)).toBe('join')
  })
})

describe('a knock of a user of another server', () => {
  async function closed(version = '11') {
    const name = await room(version)
    await set(name, 'm.room.join_rules', { join_rule: 'knock' })
    await set(name, 'm.room.name', { name: 'Behind the door' })
    return name
  }

  it.each(['7', '11', '12'])(
    'is answered with whole events that say what room it is, in version %s',
    async (version) => {
      const name = await closed(version)
      const event = await made(name, 'knock', carol)
      const { status, body } = await put('knock', name, carol, event, '', 'v1')
      expect(status).toBe(200)
      const state: { type: string; signatures: object }[] = body.knock_room_state
      expect(state.map(({ type }) => type).sort()).toEqual(['m.room.create', 'm.room.join_rules', 'm.room.name'])
      expect(state.every(({ signatures }) => testServer.name in signatures)).toBe(true)
      expect(await rooms.membership(name, carol)).toBe('knock')
      const back = await made(name, 'leave', carol)
      expect((await put('leave', name, carol, back)).status).toBe(200)
      expect(await rooms.membership(name, carol)).toBe('leave')
    },
  )

  it('has to say which versions its server knows', async () => {
    const name = await closed()
    const answer = await two.get(path('v1', 'make_knock', name.roomId, carol))
    expect(answer).toMatchObject({ status: 400, body: { errcode: 'M_MISSING_PARAM' } })
    expect(await template(name, 'knock', carol, ['7'])).toMatchObject({
      status: 400,
      body: { errcode: 'M_INCOMPATIBLE_ROOM_VERSION', room_version: '11' },
    })
  })

  it('is refused to who is banned', async () => {
    const name = await closed()
    await rooms.changeMembership(name, mia, bob, { membership: 'ban' })
    expect(await template(name, 'knock', bob)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
  })
})
