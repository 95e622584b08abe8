/** Which servers are in which room, and which rooms are marked for them, as the log writer keeps it with its events. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import { ownConnection } from '../../src/store/database.js'
import { statements } from '../../src/store/log-statements.js'
import type { RoomName } from '../../src/store/room-names.js'
import { bob, carol, dave, erin, labRoom, type LabEvent } from '../support/laboratory/index.js'
import { arrivalOf, holdRoom, mia, receive } from '../support/inbound.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, testServer, user } from '../support/rooms.js'

const database = await testDatabase()
const { db } = database
const engine = await testRooms(database)
afterAll(() => engine.close())

const servers = (room: RoomName) =>
  db
    .selectFrom('room_server')
    .select(['server', 'joined', 'from_position as from', 'to_position as to'])
    .where('room', '=', room.room)
    .orderBy('server')
    .orderBy('from_position')
    .execute()
const marks = async (room: RoomName) =>
  (
    await db.selectFrom('destination_room').selectAll().where('room', '=', room.room).orderBy('destination').execute()
  ).map((row) => [row.destination, row.from_position, row.to_position])
const outgoing = async (room: RoomName) =>
  (
    await db
      .selectFrom('event')
      .select('event_id')
      .where('room', '=', room.room)
      .where('is_outgoing', '=', true)
      .orderBy('position')
      .execute()
  ).map((row) => row.event_id)
const positionOf = async (event: LabEvent) =>
  (await db.selectFrom('event').select('position').where('event_id', '=', event.eventId).executeTakeFirstOrThrow())
    .position

describe('a room that only local users ever joined', () => {
  it('has no servers, no marks and no outgoing events', async () => {
    const room = await testRoom(engine, user('alice'))
    await join(engine, room, user('bob'))
    await say(engine, room, user('bob'), 'hello')
    await engine.rooms.changeMembership(room, user('alice'), carol, { membership: 'invite' })
    await say(engine, room, user('alice'), 'they may come')
    expect([await servers(room), await marks(room), await outgoing(room)]).toEqual([[], [], []])
  })

  it('tells the server of a user whose invite is taken back', async () => {
    const room = await testRoom(engine, user('alice'))
    await engine.rooms.changeMembership(room, user('alice'), carol, { membership: 'invite' })
    const taken = await engine.rooms.changeMembership(room, user('alice'), carol, { membership: 'leave' })
    expect(await servers(room)).toEqual([])
    expect(await marks(room)).toEqual([['two.example', taken.position, taken.position]])
    expect(await outgoing(room)).toEqual([taken.event.eventId])
  })
})

describe('a room shared with other servers', () => {
  it('counts the joined users of each, and writes a row when a server enters or leaves', async () => {
    const lab = labRoom({ members: [bob, carol, dave] })
    const room = await holdRoom(engine, lab)
    const entered = await positionOf(lab.stateEvent('m.room.member', carol)!)
    expect(await servers(room)).toMatchObject([
      { server: 'one.example', joined: 2, to: null },
      { server: 'two.example', joined: 2, from: entered, to: null },
    ])
    await receive(engine, room, [lab.leave(carol)])
    expect((await servers(room))[1]).toEqual({ server: 'two.example', joined: 1, from: entered, to: null })
    const left = lab.leave(dave)
    await receive(engine, room, [left])
    const again = lab.join(carol)
    await receive(engine, room, [again])
    expect((await servers(room)).slice(1)).toEqual([
      { server: 'two.example', joined: 0, from: entered, to: await positionOf(left) },
      { server: 'two.example', joined: 1, from: await positionOf(again), to: null },
    ])
  })

  it('marks itself for every server in it when a local user speaks, and for nobody when another server does', async () => {
    const lab = labRoom({ members: [carol] })
    const room = await holdRoom(engine, lab)
    await receive(engine, room, [lab.say(carol, 'hello')])
    expect(await marks(room)).toEqual([])
    const { position: joined } = await join(engine, room, mia)
    const { position: said } = await say(engine, room, mia, 'hello to you')
    expect(await marks(room)).toEqual([
      ['one.example', joined, said],
      ['two.example', joined, said],
    ])
  })

  it('marks itself for a server whose last user is banned, and no more afterwards', async () => {
    const lab = labRoom({ levels: { users: { [mia]: 100 } }, members: [carol] })
    const room = await holdRoom(engine, lab)
    await join(engine, room, mia)
    const ban = await engine.rooms.changeMembership(room, mia, carol, { membership: 'ban' })
    await say(engine, room, mia, 'they are gone')
    expect((await marks(room)).find(([server]) => server === 'two.example')?.[2]).toBe(ban.position)
    expect((await servers(room)).find(({ server }) => server === 'two.example')?.to).toBe(ban.position)
  })

  it('marks itself for the others when it relays a join, and not for the server that joins', async () => {
    const lab = labRoom({ members: [carol] })
    const room = await holdRoom(engine, lab)
    const joined = lab.join(erin)
    await engine.rooms.receive(room, { ...arrivalOf(joined), isRelayed: true })
    expect((await marks(room)).map(([server]) => server)).toEqual(['one.example', 'two.example'])
    expect(await outgoing(room)).toEqual([joined.eventId])
    await join(engine, room, mia)
    expect((await marks(room)).map(([server]) => server)).toEqual(['one.example', 'three.example', 'two.example'])
  })

  it('does not relay what it rejects', async () => {
    const lab = labRoom({ members: [carol] })
    const room = await holdRoom(engine, lab)
    const refused = lab.attempt(carol, { type: 'm.room.topic', stateKey: '', content: { topic: 'mine' } })
    await engine.rooms.receive(room, { ...arrivalOf(refused), isRelayed: true })
    expect([await marks(room), await outgoing(room)]).toEqual([[], []])
  })

  it('takes in ten thousand members of two thousand servers in a moment, as a join to a large room brings them', async () => {
    const room = await holdRoom(engine, labRoom({}))
    const members = Array.from({ length: 10_000 }, (_, i) => `@user${i}:server${i % 2_000}.example`)
    const position = engine.log.published
    const joined = { kind: 'membership', position, room: room.room, membership: 'join' } as const
    const facts = members.map((user) => ({ ...joined, user, sender: user, event: undefined, strippedState: undefined }))
    // As the log writer plans them.
    const client = ownConnection(database.address)
    await client.connect()
    await client.query('set enable_seqscan = off')
    for (const statement of statements({ facts, lanes: [] }, testServer.name)) await client.query(statement)
    await client.end()
    const others = (await servers(room)).filter(({ server }) => server !== 'one.example')
    expect([others.length, new Set(others.map((row) => row.joined))]).toEqual([2_000, new Set([5])])
  }, 10_000)

  it('is one for every process on the database', async () => {
    const lab = labRoom({ members: [carol] })
    const room = await holdRoom(engine, lab)
    const other = await testRooms(database)
    const { position } = await join(other, room, mia)
    expect((await marks(room)).map(([, from]) => from)).toEqual([position, position])
    await other.close()
  })
})

it('agrees with the memberships', async () => {
  const { rows } = await sql`
    select room, split_part(user_id, ':', 2) as server, count(*)::int as joined from membership
    where membership = 'join' and user_id not like '%:hearth.test' group by 1, 2
    except select room, server, joined from room_server where to_position is null
  `.execute(db)
  expect(rows).toEqual([])
})
