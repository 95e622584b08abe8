import { afterEach, describe, expect, it, jest } from '@jest/globals'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'
import { allow } from '../../src/protocol/verdict.js'
import { withSignature } from '../../src/room/inbound/signatures.js'
import { upgradeRoom } from '../../src/room/upgrade-room.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'
import { testRoom } from '../support/rooms.js'

const homeserver = await startTestHomeserver()
const { services } = homeserver
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const v3 = '/_matrix/client/v3'

const room = (roomId: string, rest: string) => `${v3}/rooms/${encodeURIComponent(roomId)}/${rest}`
const upgrade = async (by: TestUser, roomId: string, body: object): Promise<string> =>
  (await by.ok('POST', room(roomId, 'upgrade'), body)).replacement_room
const refused = async (by: TestUser, roomId: string, body: object) => {
  const { status, body: answer } = await by.post(room(roomId, 'upgrade'), body)
  return `${status} ${answer.errcode}`
}
const state = (roomId: string, type: string, key = '', by = alice) =>
  by.ok('GET', room(roomId, `state/${type}/${encodeURIComponent(key)}`))
const hasState = async (roomId: string, type: string, key = '') =>
  (await alice.get(room(roomId, `state/${type}/${encodeURIComponent(key)}`))).status === 200
const setState = (roomId: string, type: string, content: object, key = '', by = alice) =>
  by.ok('PUT', room(roomId, `state/${type}/${encodeURIComponent(key)}`), content)
const visibility = async (roomId: string) =>
  (await alice.ok('GET', `${v3}/directory/list/room/${encodeURIComponent(roomId)}`)).visibility
const tags = async (user: TestUser, roomId: string) =>
  (await user.ok('GET', `${v3}/user/${user.userId}/rooms/${encodeURIComponent(roomId)}/tags`)).tags
const roomIdOf = async (alias: string) =>
  (await alice.ok('GET', `${v3}/directory/room/${encodeURIComponent(alias)}`)).room_id
const roomsOf = async (user: TestUser): Promise<string[]> => (await user.ok('GET', `${v3}/joined_rooms`)).joined_rooms

/** The room has a policy server from now on: what it is asked about. */
function policed(roomId: string, failsAt?: string): string[] {
  const asked: string[] = []
  jest
    .spyOn(services.rooms.policies!, 'of')
    .mockImplementation(async (name) => (name.roomId === roomId ? policy : undefined))
  jest.spyOn(services.rooms.policies!, 'check').mockImplementation(async (_policy, rules, pdu) => {
    asked.push(pdu.event.type)
    if (pdu.event.type === failsAt) throw new Error('the database is gone')
    return { verdict: allow, pdu: withSignature(rules, pdu, policy.name, 'ed25519:policy_server', 'c2lnbmF0dXJl') }
  })
  return asked
}
const policy = { name: 'policy.example', key: new Uint8Array(32) }
afterEach(() => void jest.restoreAllMocks())

describe('the replacement', () => {
  it.each(
    roomVersionNames.flatMap(
      (from) =>
        [
          [from, '12'],
          [from, '11'],
          ['12', from],
        ] as const,
    ),
  )('of a room of version %s is of version %s, and each points to the other', async (from, to) => {
    const old = await alice.createRoom({ room_version: from, name: 'Old' })
    const last = await alice.say(old, 'the last')
    const made = await upgrade(alice, old, { new_version: to })
    const create = await state(made, 'm.room.create')
    expect(create).toMatchObject({ room_version: to, predecessor: { room_id: old, event_id: last } })
    expect(create).not.toHaveProperty('type')
    expect(await state(old, 'm.room.tombstone')).toEqual({
      body: expect.any(String),
      replacement_room: made,
    })
    expect(await state(made, 'm.room.name')).toEqual({ name: 'Old' })
    const levels = await state(made, 'm.room.power_levels')
    expect(levels.users).toEqual(rulesOf(to)!.privilegedCreators ? {} : { [alice.userId]: expect.any(Number) })
    await setState(made, 'm.room.power_levels', { ...levels, ban: 60 })
    expect(await roomsOf(bob)).not.toContain(made)
  })

  it('has what was set in the old room, and nothing that is bound to who sent it', async () => {
    const copied: Record<string, object> = {
      'm.room.topic': { topic: 'topic' },
      'm.room.name': { name: 'name' },
      'm.room.join_rules': { join_rule: 'knock' },
      'm.room.guest_access': { guest_access: 'forbidden' },
      'm.room.history_visibility': { history_visibility: 'joined' },
      'm.room.avatar': { url: 'mxc://hearth.test/abc' },
      'm.room.encryption': { algorithm: 'm.megolm.v1.aes-sha2' },
      'm.room.server_acl': { allow: ['*'], allow_ip_literals: false, deny: ['evil.test'] },
      'm.room.policy': { via: 'policy.test', public_keys: { ed25519: 'abc' } },
    }
    const old = await alice.createRoom({ room_version: '9' })
    for (const [type, content] of Object.entries(copied)) await setState(old, type, content)
    await setState(old, 'm.room.pinned_events', { pinned: ['$abc'] })
    await setState(old, 'org.example.key', { secret: 1 })
    await bob.ok('POST', `${v3}/knock/${encodeURIComponent(old)}`, {})
    const made = await upgrade(alice, old, { new_version: '11' })
    for (const [type, content] of Object.entries(copied)) expect(await state(made, type)).toEqual(content)
    expect(await hasState(made, 'm.room.pinned_events')).toBe(false)
    expect(await hasState(made, 'org.example.key')).toBe(false)
    expect(await hasState(made, 'm.room.member', bob.userId)).toBe(false)
  })

  it('lets no guests into a room that said nothing of guests', async () => {
    const { roomId: old } = await testRoom(services as unknown as RoomEngine, alice.userId)
    const made = await upgrade(alice, old, { new_version: '11' })
    expect(await state(made, 'm.room.guest_access')).toEqual({ guest_access: 'forbidden' })
  })

  it('keeps its type, whom it lets in on the word of other rooms, and the children of a space', async () => {
    const allow = [{ type: 'm.room_membership', room_id: await alice.createRoom() }]
    const rule = { join_rule: 'knock_restricted', allow }
    const old = await alice.createRoom({
      creation_content: { type: 'm.space', 'm.federate': false },
      room_version: '11',
    })
    await setState(old, 'm.room.join_rules', rule)
    await setState(old, 'm.space.child', { via: ['hearth.test'], order: 'a' }, '!child:hearth.test')
    await setState(old, 'm.space.child', {}, '!removed:hearth.test')
    const made = await upgrade(alice, old, { new_version: '12' })
    expect(await state(made, 'm.room.create')).toMatchObject({ type: 'm.space', 'm.federate': false })
    expect(await state(made, 'm.room.join_rules')).toEqual(rule)
    expect(await state(made, 'm.space.child', '!child:hearth.test')).toEqual({ via: ['hearth.test'], order: 'a' })
    expect(await hasState(made, 'm.space.child', '!removed:hearth.test')).toBe(false)
  })

  it('leaves out what its version cannot hold', async () => {
    const old = await alice.createRoom({ room_version: '5', creation_content: { type: 'm.space', 'm.federate': 0.5 } })
    await setState(old, 'm.room.topic', { topic: 'topic', x: 1.5 })
    await setState(old, 'm.space.child', { via: ['hearth.test'], x: 1.5 }, '!half:hearth.test')
    await setState(old, 'm.space.child', { via: ['hearth.test'], x: 1 }, '!child:hearth.test')
    const levels = await state(old, 'm.room.power_levels')
    await setState(old, 'm.room.power_levels', { ...levels, 'org.example.half': 1.5, 'org.example.one': 1 })
    const made = await upgrade(alice, old, { new_version: '11' })
    expect(await state(made, 'm.room.create')).not.toHaveProperty('m.federate')
    expect(await hasState(made, 'm.room.topic')).toBe(false)
    expect(await hasState(made, 'm.space.child', '!half:hearth.test')).toBe(false)
    expect(await state(made, 'm.space.child', '!child:hearth.test')).toEqual({ via: ['hearth.test'], x: 1 })
    expect(await state(made, 'm.room.power_levels')).toEqual({ ...levels, 'org.example.one': 1 })
    const odd = await alice.createRoom({ room_version: '5', creation_content: { type: 1.5 } })
    expect(await state(await upgrade(alice, odd, { new_version: '11' }), 'm.room.create')).not.toHaveProperty('type')
  })

  it.each([
    ['knock_restricted', '9', 'restricted'],
    ['knock_restricted', '7', 'invite'],
    ['restricted', '7', 'invite'],
    ['knock', '6', 'invite'],
    ['public', '1', 'public'],
  ])('has a join rule that its version knows: %s becomes, in version %s, %s', async (before, version, after) => {
    const old = await alice.createRoom()
    await setState(old, 'm.room.join_rules', { join_rule: before, allow: [] })
    const made = await upgrade(alice, old, { new_version: version })
    expect((await state(made, 'm.room.join_rules')).join_rule).toBe(after)
  })

  it('keeps out who was banned', async () => {
    const old = await alice.createRoom()
    await alice.ok('POST', room(old, 'ban'), { user_id: bob.userId, reason: 'rude' })
    await alice.ok('POST', room(old, 'ban'), { user_id: '@zoe:elsewhere.test' })
    const made = await upgrade(alice, old, { new_version: '11' })
    expect(await state(made, 'm.room.member', bob.userId)).toEqual({ membership: 'ban', reason: 'rude' })
    expect(await state(made, 'm.room.member', '@zoe:elsewhere.test')).toEqual({ membership: 'ban' })
    expect((await bob.post(room(made, 'join'), {})).status).toBe(403)
  })
})

describe('the power levels of the replacement', () => {
  it('are those of the old room, also where they give its maker less than was needed to make it', async () => {
    const old = await alice.createRoom({ room_version: '11' })
    await alice.ok('POST', room(old, 'ban'), { user_id: bob.userId })
    const before = await state(old, 'm.room.power_levels')
    const levels = {
      ...before,
      users: { [alice.userId]: 50, [bob.userId]: 70, '@zoe:elsewhere.test': 80 },
      events: { 'm.room.name': 80, 'm.room.tombstone': 50, 'm.room.topic': 80 },
      notifications: { room: 40 },
      'org.example': { a: 1 },
    }
    await setState(old, 'm.room.name', { name: 'name' })
    await setState(old, 'm.room.power_levels', levels)
    const made = await upgrade(alice, old, { new_version: '10' })
    expect(await state(made, 'm.room.power_levels')).toEqual(levels)
    expect(await state(made, 'm.room.name')).toEqual({ name: 'name' })
    expect(await state(made, 'm.room.member', bob.userId)).toEqual({ membership: 'ban' })
  })

  it('are integers, whatever an old version took for a level', async () => {
    const old = await alice.createRoom({ room_version: '5' })
    const before = await state(old, 'm.room.power_levels')
    await setState(old, 'm.room.power_levels', { ...before, kick: '40', ban: 41.7, events: { x: ' 7 ' } })
    const made = await upgrade(alice, old, { new_version: '12' })
    expect(await state(made, 'm.room.power_levels')).toMatchObject({ kick: 40, ban: 41, events: { x: 7 } })
  })

  it('name no creators where creators stand above them, and keep the tombstone for creators', async () => {
    const old = await alice.createRoom({ room_version: '11', preset: 'public_chat' })
    const before = await state(old, 'm.room.power_levels')
    const users = { [alice.userId]: 100, [bob.userId]: 100, '@zoe:hearth.test': 60 }
    await setState(old, 'm.room.power_levels', { ...before, users })
    const made = await upgrade(alice, old, { new_version: '12', additional_creators: [bob.userId] })
    expect(await state(made, 'm.room.create')).toMatchObject({ additional_creators: [bob.userId] })
    const levels = await state(made, 'm.room.power_levels')
    expect(levels.users).toEqual({ '@zoe:hearth.test': 60 })
    expect(levels.events['m.room.tombstone']).toBe(150)
    await bob.join(made)
    expect(await upgrade(bob, made, { new_version: '12' })).toMatch(/^!/)
  })

  it('give creators the highest where they are no longer above them', async () => {
    const old = await alice.createRoom({
      creation_content: { additional_creators: [bob.userId] },
      preset: 'public_chat',
    })
    await bob.join(old)
    const made = await upgrade(bob, old, { new_version: '11', additional_creators: ['@zoe:hearth.test'] })
    const { users } = await state(made, 'm.room.power_levels', '', bob)
    expect(users).toEqual({ [alice.userId]: 150, [bob.userId]: 150 })
    expect(await state(made, 'm.room.create', '', bob)).not.toHaveProperty('additional_creators')
  })

  it('do not carry additional creators over', async () => {
    const old = await alice.createRoom({ creation_content: { additional_creators: [bob.userId] } })
    const made = await upgrade(alice, old, { new_version: '12' })
    expect(await state(made, 'm.room.create')).not.toHaveProperty('additional_creators')
  })
})

describe('the old room', () => {
  it('goes quiet', async () => {
    const old = await alice.createRoom()
    await bob.join(old)
    const before = await state(old, 'm.room.power_levels')
    await upgrade(alice, old, { new_version: '11' })
    expect(await state(old, 'm.room.power_levels')).toEqual({ ...before, events_default: 50, invite: 50 })
    const answer = await bob.put(room(old, 'send/m.room.message/1'), { msgtype: 'm.text', body: 'x' })
    expect(answer.body.errcode).toBe('M_FORBIDDEN')
  })

  it('is replaced all the same where the user may not make it quiet', async () => {
    const old = await alice.createRoom({ room_version: '11', preset: 'public_chat' })
    await bob.join(old)
    const before = await state(old, 'm.room.power_levels')
    const levels = {
      ...before,
      users: { ...before.users, [bob.userId]: 60 },
      events: { 'm.room.tombstone': 60, 'm.room.power_levels': 100 },
    }
    await setState(old, 'm.room.power_levels', levels)
    const made = await upgrade(bob, old, { new_version: '11' })
    expect((await state(old, 'm.room.tombstone')).replacement_room).toBe(made)
    expect(await state(old, 'm.room.power_levels')).toEqual(levels)
  })

  it.each([
    ['', 'one', 0],
    [', also where a policy server signs what is sent', 'policed', 3],
  ])('gives its aliases and its place in the directory to the replacement%s', async (_sentence, alias, signed) => {
    const old = await alice.createRoom({ preset: 'public_chat', room_alias_name: alias, visibility: 'public' })
    const [main, other] = [`#${alias}:hearth.test`, `#${alias}-too:hearth.test`]
    await alice.ok('PUT', `${v3}/directory/room/${encodeURIComponent(other)}`, { room_id: old })
    await setState(old, 'm.room.canonical_alias', { alias: main, alt_aliases: [other] })
    const asked = signed > 0 ? policed(old) : []
    const made = await upgrade(alice, old, { new_version: '11' })
    expect([await roomIdOf(main), await roomIdOf(other)]).toEqual([made, made])
    expect(await state(made, 'm.room.canonical_alias')).toEqual({ alias: main, alt_aliases: [other] })
    expect(await state(old, 'm.room.canonical_alias')).toEqual({})
    expect(await state(old, 'm.room.power_levels')).toMatchObject({ events_default: 50, invite: 50 })
    expect([await visibility(old), await visibility(made)]).toEqual(['private', 'public'])
    expect(asked).toHaveLength(signed)
  })

  it('that was in no directory has a replacement that is in none', async () => {
    const old = await alice.createRoom()
    expect(await visibility(await upgrade(alice, old, { new_version: '11' }))).toBe('private')
  })

  it('says in /sync that it was replaced', async () => {
    const old = await alice.createRoom()
    await bob.join(old)
    const since = await bob.syncToken()
    const made = await upgrade(alice, old, { new_version: '11' })
    const { rooms } = await bob.sync({ since })
    const tombstone = rooms.join[old].timeline.events.find(({ type }: { type: string }) => type === 'm.room.tombstone')
    expect(tombstone.content.replacement_room).toBe(made)
  })
})

describe('an upgrade', () => {
  it.each([
    ['to a version nobody knows', { new_version: '99' }, '400 M_UNSUPPORTED_ROOM_VERSION'],
    ['to no version', {}, '400 M_BAD_JSON'],
    ['to a number', { new_version: 11 }, '400 M_BAD_JSON'],
    ['with creators that are no users', { new_version: '12', additional_creators: ['bob'] }, '400 M_BAD_JSON'],
  ])('%s is refused', async (_sentence, body, answer) => {
    const old = await alice.createRoom()
    const before = await roomsOf(alice)
    expect(await refused(alice, old, body)).toBe(answer)
    expect(await roomsOf(alice)).toEqual(before)
  })

  it('is refused to who is not in the room, or may not send the tombstone', async () => {
    const old = await alice.createRoom()
    const body = { new_version: '11' }
    expect(await refused(bob, old, body)).toBe('403 M_FORBIDDEN')
    expect(await refused(bob, '!unknown:hearth.test', body)).toBe('403 M_FORBIDDEN')
    await bob.join(old)
    const before = await roomsOf(bob)
    expect(await refused(bob, old, body)).toBe('403 M_FORBIDDEN')
    expect(await roomsOf(bob)).toEqual(before)
  })

  it('that is asked for again, or twice at once, is made once', async () => {
    const old = await alice.createRoom()
    const [first, second] = await Promise.all([
      upgrade(alice, old, { new_version: '11' }),
      upgrade(alice, old, { new_version: '11' }),
    ])
    expect(second).toBe(first)
    expect(await upgrade(alice, old, { new_version: '11' })).toBe(first)
    expect(await upgrade(alice, old, { new_version: '10' })).not.toBe(first)
  })

  it('by two people at once is made once, and the other is told', async () => {
    const old = await alice.createRoom({
      room_version: '11',
      preset: 'public_chat',
      power_level_content_override: { users: { [alice.userId]: 100, [bob.userId]: 100 } },
    })
    await bob.join(old)
    const both = await Promise.allSettled([
      upgrade(alice, old, { new_version: '11' }),
      upgrade(bob, old, { new_version: '11' }),
    ])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    const { replacement_room: made } = await state(old, 'm.room.tombstone')
    expect(both).toContainEqual({ status: 'fulfilled', value: made })
  })

  /** An upgrade before whose tombstone something happens, once. */
  const upgradeWith = async (old: string, beforeTombstone: () => Promise<unknown>) => {
    const { rooms } = services
    let happened: Promise<unknown> | undefined
    const sendAll = async (...args: Parameters<typeof rooms.sendAll>) => {
      if (args[1].some(({ replacement }) => replacement !== undefined)) await (happened ??= beforeTombstone())
      return rooms.sendAll(...args)
    }
    const interrupted = Object.create(rooms, { sendAll: { value: sendAll } })
    const name = await rooms.named(old)
    return upgradeRoom({ ...services, rooms: interrupted }, name, alice.userId, { new_version: '11' })
  }

  it('that fails at the tombstone leaves nothing behind', async () => {
    const old = await alice.createRoom({ room_version: '11', room_alias_name: 'stays' })
    const before = await roomsOf(alice)
    const upgrading = upgradeWith(old, async () => {
      throw new Error('no tombstone')
    })
    await expect(upgrading).rejects.toThrow('no tombstone')
    expect(await roomsOf(alice)).toEqual(before)
    expect(await roomIdOf('#stays:hearth.test')).toBe(old)
    expect(await hasState(old, 'm.room.tombstone')).toBe(false)
  })

  it('that fails only after the tombstone is an upgrade', async () => {
    const old = await alice.createRoom({ room_version: '11', room_alias_name: 'moves' })
    const asked = policed(old, 'm.room.power_levels')
    const made = await upgrade(alice, old, { new_version: '11' })
    expect(asked).toEqual(['m.room.tombstone', 'm.room.canonical_alias', 'm.room.power_levels'])
    expect((await state(old, 'm.room.tombstone')).replacement_room).toBe(made)
    expect(await roomsOf(alice)).toContain(made)
    expect(await roomIdOf('#moves:hearth.test')).toBe(made)
  })

  it('that another process was faster with leaves nothing behind, either', async () => {
    const old = await alice.createRoom({ room_version: '11', room_alias_name: 'moved-once' })
    const before = await roomsOf(alice)
    const faster = { body: 'x', replacement_room: '!faster:hearth.test' }
    const upgrading = upgradeWith(old, () => setState(old, 'm.room.tombstone', faster))
    await expect(upgrading).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    expect(await roomsOf(alice)).toEqual(before)
    expect(await roomIdOf('#moved-once:hearth.test')).toBe(old)
    expect(await state(old, 'm.room.tombstone')).toEqual(faster)
  })

  it('that a level taken away meanwhile forbids leaves nothing behind', async () => {
    const old = await alice.createRoom({ room_version: '11' })
    const before = await roomsOf(alice)
    const levels = await state(old, 'm.room.power_levels')
    const upgrading = upgradeWith(old, () =>
      setState(old, 'm.room.power_levels', { ...levels, users: { [alice.userId]: 10 } }),
    )
    await expect(upgrading).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    expect(await roomsOf(alice)).toEqual(before)
  })
})

describe('tags', () => {
  it('follow their user into the replacement', async () => {
    const old = await alice.createRoom()
    await bob.join(old)
    for (const user of [alice, bob]) {
      await user.ok('PUT', `${v3}/user/${user.userId}/rooms/${encodeURIComponent(old)}/tags/m.favourite`, {
        order: 0.5,
      })
    }
    const made = await upgrade(alice, old, { new_version: '12' })
    await bob.join(made)
    for (const user of [alice, bob]) expect(await tags(user, made)).toEqual({ 'm.favourite': { order: 0.5 } })
  })

  it('do not follow into a room that only claims to be one', async () => {
    const old = await alice.createRoom()
    await bob.join(old)
    await bob.ok('PUT', `${v3}/user/${bob.userId}/rooms/${encodeURIComponent(old)}/tags/m.favourite`, {})
    for (const room_id of [old, '!a\0b:hearth.test', 7]) {
      const claimed = await alice.createRoom({ preset: 'public_chat', creation_content: { predecessor: { room_id } } })
      await bob.join(claimed)
      expect(await tags(bob, claimed)).toEqual({})
    }
  })
})
