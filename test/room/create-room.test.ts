import { describe, expect, it } from '@jest/globals'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'
import { createRoom, type RoomRequest } from '../../src/room/create-room.js'
import { alias, insertAlias } from '../../src/store/aliases.js'
import { insertAccount } from '../../src/store/accounts.js'
import type { RoomNumber } from '../../src/protocol/numbers.js'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'
import { testRooms, user } from '../support/rooms.js'

const homeserver = await startTestHomeserver()
const { services } = homeserver
const { db, rooms, stores } = services
const alice = user('alice')
const bob = user('bob')
const carol = user('carol')
await db.transaction().execute(async (trx) => {
  for (const userId of [alice, bob, carol]) {
    await insertAccount(trx, { userId, passwordHash: undefined, isAdmin: false }, Date.now())
  }
})

/** The events of a new room, in their order. */
async function eventsOf(request: RoomRequest) {
  const name = await rooms.named(await createRoom(services, alice, request))
  const events = await stores.events.page(name.room, { backwards: false, limit: 100 })
  return events.map(({ event }) => event)
}

const contentOf = async (request: RoomRequest, type: string, stateKey = '') =>
  (await eventsOf(request)).findLast((event) => event.type === type && event.stateKey === stateKey)?.content

const countRooms = async () => (await db.selectFrom('room').select('room').execute()).length

describe('createRoom', () => {
  it.each(['11', '12'])(
    'makes rooms of their own of what one user asks for several times at once, version %s',
    async (version) => {
      const making = Array.from({ length: 30 }, () => createRoom(services, alice, { room_version: version }))
      const made = await Promise.all(making)
      expect(new Set(made).size).toBe(30)
      for (const roomId of made) {
        const room = await rooms.named(roomId)
        const { create, head } = await rooms.head(room)
        expect(create?.number).toBe((await stores.events.byId(room.room, create!.event.eventId))?.number)
        expect(head.forwardExtremities).toHaveLength(1)
      }
    },
  )

  it('makes rooms of their own of what one user asks two processes for in the same millisecond', async () => {
    const now = Date.now()
    const both = await Promise.all([0, 1].map(() => testRooms(homeserver.database, { now: () => now })))
    const made: string[] = []
    for (const { rooms } of both) made.push(await createRoom({ ...services, rooms }, alice, {}))
    expect(made[0]).not.toBe(made[1])
    for (const [index, { rooms }] of both.entries()) {
      const { create } = await rooms.head(await rooms.named(made[index]!))
      expect(create?.event.originServerTs).toBe(now + index)
    }
    for (const engine of both) await engine.close()
  })

  it('says which room is there when a user of another server could not be invited', async () => {
    const creating = createRoom(services, alice, { invite: ['@zoe:elsewhere.test'] })
    await expect(creating).rejects.toMatchObject({ status: 504, message: expect.stringContaining('The room !') })
  })

  it('applies the events in the order of the specification', async () => {
    const events = await eventsOf({
      preset: 'public_chat',
      room_alias_name: 'in-order',
      name: 'Name',
      topic: 'Topic',
      initial_state: [{ type: 'org.example.one', content: {} }],
      invite: [bob],
    })
    expect(events.map(({ type }) => type)).toEqual([
      'm.room.create',
      'm.room.member',
      'm.room.power_levels',
      'm.room.canonical_alias',
      'm.room.join_rules',
      'm.room.history_visibility',
      'm.room.guest_access',
      'org.example.one',
      'm.room.name',
      'm.room.topic',
      'm.room.member',
    ])
    expect(events[3]!.content).toEqual({ alias: '#in-order:hearth.test' })
    expect(events[9]!.content).toEqual({
      topic: 'Topic',
      'm.topic': { 'm.text': [{ body: 'Topic', mimetype: 'text/plain' }] },
    })
    expect(events[10]).toMatchObject({ stateKey: bob, content: { membership: 'invite' } })
  })

  it.each(roomVersionNames)('makes a room of version %s', async (version) => {
    const [create, , levels] = await eventsOf({ room_version: version, creation_content: { creator: bob, 'org.x': 1 } })
    const rules = rulesOf(version)!
    expect(create!.content).toEqual({
      room_version: version,
      'org.x': 1,
      ...(rules.creatorInCreateContent ? { creator: alice } : {}),
    })
    expect(create!.roomId).toMatch(rules.roomIdIsCreateHash ? /^![\w-]{43}$/ : /^![\w-]{18}:hearth\.test$/)
    expect(levels!.content['users']).toEqual(rules.privilegedCreators ? {} : { [alice]: 100 })
    expect(levels!.content['events']).toHaveProperty(['m.room.tombstone'], rules.privilegedCreators ? 150 : 100)
  })

  it('chooses the preset by the visibility when none is given', async () => {
    const joinRule = async (request: RoomRequest) => (await contentOf(request, 'm.room.join_rules'))?.['join_rule']
    expect(await joinRule({})).toBe('invite')
    expect(await joinRule({ visibility: 'public' })).toBe('public')
    expect(await joinRule({ visibility: 'public', preset: 'private_chat' })).toBe('invite')
  })

  it('gives invitees of a trusted private chat the level of the creator, before version 12', async () => {
    const request = { preset: 'trusted_private_chat', invite: [bob], room_version: '11' } as const
    expect(await contentOf(request, 'm.room.power_levels')).toMatchObject({ users: { [alice]: 100, [bob]: 100 } })
  })

  it('makes invitees of a trusted private chat creators, from version 12 on', async () => {
    const creation_content = { additional_creators: [bob, carol] }
    const request = { preset: 'trusted_private_chat', invite: [bob], creation_content } as const
    expect(await contentOf(request, 'm.room.create')).toMatchObject({ additional_creators: [bob, carol] })
    expect(await contentOf({ ...request, creation_content: {} }, 'm.room.create')).toMatchObject({
      additional_creators: [bob],
    })
  })

  it('lets initial_state overrule the preset, and name and topic overrule initial_state', async () => {
    const request: RoomRequest = {
      name: 'By name',
      initial_state: [
        { type: 'm.room.join_rules', content: { join_rule: 'knock' } },
        { type: 'm.room.name', content: { name: 'By state' } },
      ],
    }
    const events = await eventsOf(request)
    const named = (type: string) => events.filter((event) => event.type === type).map(({ content }) => content)
    expect(named('m.room.join_rules')).toEqual([{ join_rule: 'knock' }])
    expect(named('m.room.name')).toEqual([{ name: 'By name' }])
  })

  it('puts the override on top of the default power levels', async () => {
    const content = await contentOf({ power_level_content_override: { invite: 77 } }, 'm.room.power_levels')
    expect(content).toMatchObject({ invite: 77, ban: 50 })
  })

  it('marks invites of a direct chat', async () => {
    const content = await contentOf({ invite: [bob], is_direct: true }, 'm.room.member', bob)
    expect(content).toMatchObject({ membership: 'invite', is_direct: true })
  })

  it.each<[string, RoomRequest, number, string]>([
    ['an unknown version', { room_version: '99' }, 400, 'M_UNSUPPORTED_ROOM_VERSION'],
    ['an alias with a colon', { room_alias_name: 'a:b' }, 400, 'M_INVALID_PARAM'],
    [
      'additional creators that are no users',
      { creation_content: { additional_creators: ['bob'] } },
      400,
      'M_BAD_JSON',
    ],
    ['a creator with a level', { power_level_content_override: { users: { [alice]: 100 } } }, 400, 'M_BAD_JSON'],
    [
      'levels that lock the creator out',
      { room_version: '11', power_level_content_override: { users: { [bob]: 100 } } },
      400,
      'M_INVALID_ROOM_STATE',
    ],
    ['a second create event', { initial_state: [{ type: 'm.room.create', content: {} }] }, 400, 'M_INVALID_ROOM_STATE'],
    [
      'an invite to a user of another server by initial_state',
      {
        initial_state: [{ type: 'm.room.member', state_key: '@zoe:elsewhere.test', content: { membership: 'invite' } }],
      },
      400,
      'M_BAD_JSON',
    ],
    ['an invite to nobody', { invite: [user('nobody')] }, 404, 'M_NOT_FOUND'],
    [
      'an invite to nobody by initial_state',
      { initial_state: [{ type: 'm.room.member', state_key: user('nobody'), content: { membership: 'invite' } }] },
      404,
      'M_NOT_FOUND',
    ],
    ['a topic that is too large', { topic: 'x'.repeat(70_000) }, 413, 'M_TOO_LARGE'],
  ])('refuses %s, with nothing done', async (_sentence, request, status, errcode) => {
    const before = await countRooms()
    await expect(createRoom(services, alice, { room_alias_name: 'refused', ...request })).rejects.toMatchObject({
      status,
      errcode,
    })
    expect(await countRooms()).toBe(before)
    expect(await db.selectFrom('room_alias').selectAll().where('alias', '=', '#refused:hearth.test').execute()).toEqual(
      [],
    )
  })

  it('refuses numbers that canonical JSON cannot hold, where the room version is strict', async () => {
    await expect(createRoom(services, alice, {}, '1.5')).rejects.toMatchObject({ errcode: 'M_BAD_JSON' })
    await createRoom(services, alice, { room_version: '5', creation_content: { 'org.x': 1.5 } }, '1.5')
  })

  it('refuses an alias that is taken, but not one whose room never came to be', async () => {
    await createRoom(services, alice, { room_alias_name: 'taken' })
    await expect(createRoom(services, bob, { room_alias_name: 'taken' })).rejects.toMatchObject({
      status: 400,
      errcode: 'M_ROOM_IN_USE',
    })
    const abandoned = { alias: '#abandoned:hearth.test', room: 2_000_000_000 as RoomNumber, creator: bob }
    await insertAlias(db, abandoned, Date.now() - 3_600_000)
    expect(await alias(db, abandoned.alias)).toBeUndefined()
    const roomId = await createRoom(services, alice, { room_alias_name: 'abandoned' })
    expect(await alias(db, abandoned.alias)).toMatchObject({ roomId, creator: alice })
  })
})

describe('POST /createRoom', () => {
  let dora: TestUser
  const post = async (body: unknown) => {
    dora ??= await homeserver.user('dora')
    const { status, body: answer } = await dora.post('/_matrix/client/v3/createRoom', body)
    return [status, answer.errcode ?? 'ok']
  }

  it.each<[string, unknown, number, string]>([
    ['no body', '', 200, 'ok'],
    ['a list', [], 400, 'M_BAD_JSON'],
    ['a name that is a number', { name: 1 }, 400, 'M_BAD_JSON'],
    ['an unknown preset', { preset: 'open_house' }, 400, 'M_BAD_JSON'],
    ['an invite that is no user id', { invite: ['bob'] }, 400, 'M_BAD_JSON'],
    ['initial state without content', { initial_state: [{ type: 'x' }] }, 400, 'M_BAD_JSON'],
    [
      'an invite by e-mail without a server',
      { invite_3pid: [{ medium: 'email', address: 'a@b.c' }] },
      400,
      'M_BAD_JSON',
    ],
    ['a fraction', '{"creation_content":{"a":1.5}}', 400, 'M_BAD_JSON'],
  ])('answers %s', async (_sentence, body, status, errcode) => {
    expect(await post(body)).toEqual([status, errcode])
  })
})
