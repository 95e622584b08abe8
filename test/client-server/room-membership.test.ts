import { describe, expect, it } from '@jest/globals'
import { sql } from 'kysely'
import type { RoomNumber } from '../../src/protocol/numbers.js'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'
import { environmentToAsk, startIdentityServer } from '../support/started-identity-server.js'

const identity = await startIdentityServer()
const homeserver = await startTestHomeserver({ environment: environmentToAsk(identity) })
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const carol = await homeserver.user('carol')
const v3 = '/_matrix/client/v3'

const act = async (user: TestUser, roomId: string, action: string, body: object = {}) => {
  const { status, body: answer } = await user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/${action}`, body)
  return answer.errcode === undefined ? status : `${status} ${answer.errcode}`
}
const member = (roomId: string, user: TestUser, by = alice) =>
  by.ok('GET', `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${user.userId}`)
const membership = async (roomId: string, user: TestUser) => (await member(roomId, user)).membership
/** In the order in which a user got them. */
const memberships = async (roomId: string, user: TestUser, by = alice) => {
  const filter = encodeURIComponent(JSON.stringify({ types: ['m.room.member'], senders: [user.userId] }))
  const { chunk } = await by.ok('GET', `${v3}/rooms/${encodeURIComponent(roomId)}/messages?dir=f&filter=${filter}`)
  return chunk.map((event: { content: { membership: string } }) => event.content.membership)
}

describe('joining', () => {
  it('copies the profile into the member event, with the reason', async () => {
    await bob.ok('PUT', `${v3}/profile/${bob.userId}/displayname`, { displayname: 'Bob' })
    const roomId = await alice.createRoom()
    expect(await act(bob, roomId, 'join', { reason: 'curious' })).toBe(200)
    expect(await member(roomId, bob)).toEqual({ membership: 'join', displayname: 'Bob', reason: 'curious' })
  })

  it('twice answers the room id twice, and changes nothing', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const before = await bob.ok('GET', `${v3}/rooms/${roomId}/messages?dir=b&limit=1`)
    expect(await bob.join(roomId)).toEqual({ room_id: roomId })
    const after = await bob.ok('GET', `${v3}/rooms/${roomId}/messages?dir=b&limit=1`)
    expect(after.chunk[0].event_id).toBe(before.chunk[0].event_id)
  })

  it('several times at once makes one event', async () => {
    const roomId = await alice.createRoom()
    const reasons = ['curious', 'very curious', 'curious']
    expect(await Promise.all(reasons.map((reason) => act(bob, roomId, 'join', { reason })))).toEqual([200, 200, 200])
    expect(await memberships(roomId, bob)).toEqual(['join'])
  })

  it('finds a room by its alias', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'by-alias' })
    const alias = encodeURIComponent('#by-alias:hearth.test')
    expect(await bob.ok('POST', `${v3}/join/${alias}?via=hearth.test&server_name=x.test`)).toEqual({ room_id: roomId })
  })

  it('is refused without an invite to a private room, and allowed with one', async () => {
    const roomId = await alice.createRoom({})
    expect(await act(bob, roomId, 'join')).toBe('403 M_FORBIDDEN')
    expect(await act(alice, roomId, 'invite', { user_id: bob.userId })).toBe(200)
    expect(await act(bob, roomId, 'join')).toBe(200)
  })

  it.each([
    ['a room that is not here', '!unknown:hearth.test', '404 M_NOT_FOUND'],
    ['a room of another server that is away', '!unknown:elsewhere.test', '504 M_UNKNOWN'],
    ['what is no room id', 'unknown', '400 M_INVALID_PARAM'],
  ])('%s fails', async (_sentence, roomId, answer) => {
    expect(await act(bob, roomId, 'join')).toBe(answer)
    const { status, body } = await bob.post(`${v3}/join/${encodeURIComponent(roomId)}`)
    expect(`${status} ${body.errcode}`).toBe(answer)
  })

  it.each([
    ['nobody', '#nobody:hearth.test', '404 M_NOT_FOUND'],
    ['a server that is away', '#room:elsewhere.test', '504 M_UNKNOWN'],
  ])('an alias of %s fails', async (_sentence, alias, answer) => {
    const { status, body } = await bob.post(`${v3}/join/${encodeURIComponent(alias)}`)
    expect(`${status} ${body.errcode}`).toBe(answer)
  })

  it('a restricted room is allowed to members of the rooms it names, on the word of a member', async () => {
    const space = await alice.createRoom()
    const allow = [{ type: 'm.room_membership', room_id: space }]
    const content = { join_rule: 'restricted', allow }
    const roomId = await alice.createRoom({ initial_state: [{ type: 'm.room.join_rules', content }] })
    expect(await act(bob, roomId, 'join')).toBe('403 M_FORBIDDEN')
    await bob.join(space)
    expect(await act(bob, roomId, 'join')).toBe(200)
    expect(await member(roomId, bob)).toMatchObject({ join_authorised_via_users_server: alice.userId })
  })
})

describe('joining on the word of a member', () => {
  const restricted = ['8', '9', '10', '11', '12'].flatMap((version) => [
    [version, 'restricted'],
    ...(Number(version) >= 10 ? [[version, 'knock_restricted']] : []),
  ]) as [string, string][]

  const roomFor = async (space: string, version: string, join_rule: string, options: object = {}) => {
    const content = { join_rule, allow: [{ type: 'org.example' }, { type: 'm.room_membership', room_id: space }] }
    const initial_state = [{ type: 'm.room.join_rules', content }]
    return alice.createRoom({ initial_state, room_version: version, ...options })
  }

  it.each(restricted)('works in rooms of version %s with the rule %s', async (version, rule) => {
    const space = await alice.createRoom()
    const roomId = await roomFor(space, version, rule)
    expect(await act(carol, roomId, 'join')).toBe('403 M_FORBIDDEN')
    await carol.join(space)
    expect(await act(carol, roomId, 'join')).toBe(200)
    expect(await member(roomId, carol)).toMatchObject({ join_authorised_via_users_server: alice.userId })
    await act(carol, space, 'leave')
    expect(await membership(roomId, carol)).toBe('join')
    await act(carol, roomId, 'leave')
    expect(await act(carol, roomId, 'join')).toBe('403 M_FORBIDDEN')
  })

  it('names somebody who may invite and is in the room', async () => {
    const space = await alice.createRoom()
    const levels = { users: { [alice.userId]: 100, [bob.userId]: 60, [carol.userId]: 50 }, invite: 60 }
    const roomId = await roomFor(space, '11', 'restricted', { power_level_content_override: levels })
    for (const user of [bob, carol]) await user.join(space)
    await carol.join(roomId)
    await bob.join(roomId)
    await act(alice, roomId, 'leave')
    const dave = await homeserver.user()
    await dave.join(space)
    expect(await act(dave, roomId, 'join')).toBe(200)
    expect(await member(roomId, dave, dave)).toMatchObject({ join_authorised_via_users_server: bob.userId })
    await act(bob, roomId, 'leave')
    const erin = await homeserver.user()
    await erin.join(space)
    expect(await act(erin, roomId, 'join')).toBe('403 M_FORBIDDEN')
  })

  it('names any member where all may invite', async () => {
    const space = await alice.createRoom()
    const roomId = await roomFor(space, '11', 'restricted')
    for (const user of [bob, carol]) await user.join(space)
    await bob.join(roomId)
    await act(alice, roomId, 'leave')
    await carol.join(roomId)
    expect(await member(roomId, carol, carol)).toMatchObject({ join_authorised_via_users_server: bob.userId })
  })

  it('is not needed by who is invited, and does not help who is banned', async () => {
    const space = await alice.createRoom()
    await carol.join(space)
    const roomId = await roomFor(space, '11', 'restricted')
    await act(alice, roomId, 'invite', { user_id: carol.userId })
    await carol.join(roomId)
    expect(await member(roomId, carol)).not.toHaveProperty('join_authorised_via_users_server')
    await act(alice, roomId, 'ban', { user_id: carol.userId })
    expect(await act(carol, roomId, 'join')).toBe('403 M_FORBIDDEN')
  })

  it('cannot be claimed by a client', async () => {
    const space = await alice.createRoom()
    const roomId = await roomFor(space, '11', 'restricted')
    const claim = { membership: 'join', join_authorised_via_users_server: alice.userId }
    const path = (user: TestUser) => `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${user.userId}`
    expect((await carol.put(path(carol), claim)).status).toBe(403)
    await carol.join(space)
    await carol.join(roomId)
    const renamed = { ...claim, displayname: 'Caro', join_authorised_via_users_server: '@zoe:elsewhere.test' }
    expect((await carol.put(path(carol), renamed)).status).toBe(200)
    expect(await member(roomId, carol)).toEqual({ membership: 'join', displayname: 'Caro' })
    const invite = { type: 'm.room.member', state_key: bob.userId, content: { ...renamed, membership: 'invite' } }
    const { body } = await alice.post(`${v3}/createRoom`, { initial_state: [invite] })
    expect(body.errcode).toBe('M_BAD_JSON')
  })
})

describe('a third-party invite', () => {
  const offer = identity.offer()
  const signedFor = (mxid: string, token: string, key = identity.key) =>
    identity.signed(mxid, token, { sender: alice.userId }, key)
  const offered = async (token: string, version: string) => {
    const roomId = await alice.createRoom({ room_version: version })
    await alice.ok('PUT', `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.third_party_invite/${token}`, offer)
    return roomId
  }

  it.each(roomVersionNames)('lets in whom the identity server vouches for, in rooms of version %s', async (version) => {
    const roomId = await offered('secret', version)
    const third_party_signed = signedFor(carol.userId, 'secret')
    expect(await act(carol, roomId, 'join')).toBe('403 M_FORBIDDEN')
    expect(await act(carol, roomId, 'join', { third_party_signed })).toBe(200)
    expect(await membership(roomId, carol)).toBe('join')
    expect(await act(carol, roomId, 'join', { third_party_signed })).toBe(200)
  })

  it('lets in nobody else', async () => {
    const roomId = await offered('secret', '12')
    for (const third_party_signed of [
      signedFor(bob.userId, 'secret'),
      signedFor(carol.userId, 'other'),
      signedFor(carol.userId, 'secret', identity.stranger),
      { mxid: carol.userId, token: 'secret' },
      {},
    ]) {
      expect(await act(carol, roomId, 'join', { third_party_signed })).toBe('403 M_FORBIDDEN')
    }
    await act(alice, roomId, 'ban', { user_id: carol.userId })
    const third_party_signed = signedFor(carol.userId, 'secret')
    expect(await act(carol, roomId, 'join', { third_party_signed })).toBe('403 M_FORBIDDEN')
  })

  it('with thousands of signatures is refused', async () => {
    const roomId = await offered('secret', '12')
    const signature = Object.values(
      (signedFor(carol.userId, 'secret') as { signatures: Record<string, object> }).signatures[identity.name]!,
    )[0] as string
    const many = Array.from({ length: 1_100 }, (_, i) => [`ed25519:${i}`, `${i}`.padStart(5, 'A') + signature.slice(5)])
    const signed = { mxid: carol.userId, token: 'secret', signatures: { 'id.test': Object.fromEntries(many) } }
    expect(await act(carol, roomId, 'join', { third_party_signed: signed })).toMatch(/^(403|413)/)
  })
})

describe('a room this server does not hold', () => {
  /** As federation leaves it behind. */
  const outside = async (kind: 'invite' | 'knock', user: TestUser) => {
    const { db, writer } = homeserver.services
    const { rows } = await sql<{ room: RoomNumber }>`select nextval('room_number')::int as room`.execute(db)
    const room = rows[0]!.room
    const room_id = `!${room}:elsewhere.test`
    await db
      .insertInto('room')
      .values({ room, room_id } as never)
      .execute()
    const strippedState = JSON.stringify([
      { type: 'm.room.create', state_key: '', sender: '@zoe:elsewhere.test', content: {} },
      { type: 'm.room.member', state_key: user.userId, sender: '@zoe:elsewhere.test', content: { membership: kind } },
    ])
    const sender = '@zoe:elsewhere.test'
    await writer.writeMembership({ room, user: user.userId, membership: kind, sender, strippedState }, undefined)
    return room_id
  }

  it.each(['invite', 'knock'] as const)('can be left by who has a %s', async (kind) => {
    const user = await homeserver.user()
    const roomId = await outside(kind, user)
    const first = await user.sync()
    expect(Object.keys(first.rooms[kind])).toEqual([roomId])
    expect(await act(bob, roomId, 'leave')).toBe('403 M_FORBIDDEN')
    expect(await act(user, roomId, 'forget')).toBe('400 M_UNKNOWN')
    expect(await act(user, roomId, 'leave', { reason: 'no' })).toBe(200)
    expect(await act(user, roomId, 'leave')).toBe(200)
    const { rooms = {} } = await user.sync({ since: first.next_batch })
    expect(rooms[kind]).toBeUndefined()
    expect(Object.keys(rooms.leave ?? {})).toEqual([roomId])
    expect(await act(user, roomId, 'forget')).toBe(200)
    expect((await user.sync()).rooms?.[kind]).toBeUndefined()
  })
})

describe('leaving', () => {
  it('twice is fine', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    expect(await act(bob, roomId, 'leave', { reason: 'bored' })).toBe(200)
    expect(await act(bob, roomId, 'leave')).toBe(200)
    expect(await member(roomId, bob)).toEqual({ membership: 'leave', reason: 'bored' })
  })

  it('twice at once is fine', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const reasons = ['bored', 'bored, really']
    expect(await Promise.all(reasons.map((reason) => act(bob, roomId, 'leave', { reason })))).toEqual([200, 200])
    expect(await memberships(roomId, bob)).toEqual(['join', 'leave'])
  })

  it('declines an invite', async () => {
    const roomId = await alice.createRoom({ invite: [bob.userId] })
    expect(await act(bob, roomId, 'leave')).toBe(200)
    expect(await act(bob, roomId, 'join')).toBe('403 M_FORBIDDEN')
  })

  it('a room one was never in is refused', async () => {
    expect(await act(bob, await alice.createRoom(), 'leave')).toBe('403 M_FORBIDDEN')
    expect(await act(bob, '!unknown:hearth.test', 'leave')).toBe('404 M_NOT_FOUND')
  })
})

describe('inviting', () => {
  it('shows the profile of the invited, and can be done again', async () => {
    const roomId = await alice.createRoom()
    expect(await act(alice, roomId, 'invite', { user_id: bob.userId })).toBe(200)
    expect(await act(alice, roomId, 'invite', { user_id: bob.userId })).toBe(200)
    expect(await member(roomId, bob)).toEqual({ membership: 'invite', displayname: 'Bob' })
  })

  it.each([
    ['who is in the room', { user_id: alice.userId }, '403 M_FORBIDDEN'],
    ['nobody', { user_id: '@nobody:hearth.test' }, '404 M_NOT_FOUND'],
    ['a user of another server that is away', { user_id: '@zoe:elsewhere.test' }, '504 M_UNKNOWN'],
    ['an e-mail address without a token', { medium: 'email', address: 'a@b.c', id_server: 'x' }, '400 M_BAD_JSON'],
    ['without saying whom', {}, '400 M_BAD_JSON'],
    ['a number', { user_id: 1 }, '400 M_BAD_JSON'],
  ])('%s is refused', async (_sentence, body, answer) => {
    expect(await act(alice, await alice.createRoom(), 'invite', body)).toBe(answer)
  })

  it('again is refused to who may do so no more', async () => {
    const options = { preset: 'public_chat', power_level_content_override: { invite: 0 } }
    const roomId = await alice.createRoom(options)
    await bob.join(roomId)
    const invite = () => act(bob, roomId, 'invite', { user_id: carol.userId })
    expect([await invite(), await invite()]).toEqual([200, 200])
    await act(alice, roomId, 'kick', { user_id: bob.userId })
    expect(await invite()).toBe('403 M_FORBIDDEN')
  })

  it('is refused to who is not in the room', async () => {
    expect(await act(bob, await alice.createRoom(), 'invite', { user_id: carol.userId })).toBe('403 M_FORBIDDEN')
    expect(await act(bob, '!unknown:hearth.test', 'invite', { user_id: carol.userId })).toBe('403 M_FORBIDDEN')
  })
})

describe('kicking, banning and unbanning', () => {
  it('changes the membership', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const target = { user_id: bob.userId, reason: 'rude' }
    expect(await act(alice, roomId, 'kick', target)).toBe(200)
    expect(await member(roomId, bob)).toEqual({ membership: 'leave', reason: 'rude' })
    expect(await act(alice, roomId, 'ban', target)).toBe(200)
    expect(await act(bob, roomId, 'join')).toBe('403 M_FORBIDDEN')
    expect(await act(alice, roomId, 'unban', target)).toBe(200)
    expect(await act(bob, roomId, 'join')).toBe(200)
  })

  it('refuses what would be another thing', async () => {
    const roomId = await alice.createRoom()
    const target = { user_id: bob.userId }
    expect(await act(alice, roomId, 'kick', target)).toBe('403 M_FORBIDDEN')
    expect(await act(alice, roomId, 'unban', target)).toBe('403 M_FORBIDDEN')
    await bob.join(roomId)
    expect(await act(alice, roomId, 'kick', target)).toBe(200)
    expect(await act(alice, roomId, 'kick', target)).toBe('403 M_FORBIDDEN')
    expect(await act(alice, roomId, 'unban', target)).toBe('403 M_FORBIDDEN')
    expect(await act(alice, roomId, 'ban', target)).toBe(200)
    expect(await act(alice, roomId, 'kick', target)).toBe('403 M_FORBIDDEN')
  })

  it('is refused against who has as much power', async () => {
    const users = { [alice.userId]: 100, [bob.userId]: 50, [carol.userId]: 50 }
    const options = { room_version: '11', preset: 'public_chat', power_level_content_override: { users } }
    const roomId = await alice.createRoom(options)
    for (const user of [bob, carol]) await user.join(roomId)
    for (const action of ['kick', 'ban']) {
      expect(await act(bob, roomId, action, { user_id: carol.userId })).toBe('403 M_FORBIDDEN')
    }
    expect(await act(alice, roomId, 'ban', { user_id: carol.userId })).toBe(200)
    expect(await act(alice, roomId, 'ban', { user_id: carol.userId })).toBe(200)
    expect(await act(alice, roomId, 'invite', { user_id: carol.userId })).toBe('403 M_FORBIDDEN')
    expect(await act(bob, roomId, 'unban', { user_id: carol.userId })).toBe('403 M_FORBIDDEN')
  })

  it('withdraws an invite, and bans who was never here', async () => {
    const roomId = await alice.createRoom({ invite: [bob.userId] })
    expect(await act(alice, roomId, 'kick', { user_id: bob.userId })).toBe(200)
    expect(await act(bob, roomId, 'join')).toBe('403 M_FORBIDDEN')
    expect(await act(alice, roomId, 'ban', { user_id: '@zoe:elsewhere.test' })).toBe(200)
    expect(await act(alice, roomId, 'unban', { user_id: '@zoe:elsewhere.test' })).toBe(200)
  })

  it('is refused without the power', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    for (const action of ['kick', 'ban']) {
      expect(await act(bob, roomId, action, { user_id: alice.userId })).toBe('403 M_FORBIDDEN')
      expect(await act(carol, roomId, action, { user_id: alice.userId })).toBe('403 M_FORBIDDEN')
    }
  })
})

describe('knocking', () => {
  const knocking = { initial_state: [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }] }

  it('asks to be let in', async () => {
    const roomId = await alice.createRoom(knocking)
    const answer = await bob.ok('POST', `${v3}/knock/${encodeURIComponent(roomId)}`, { reason: 'please' })
    expect(answer).toEqual({ room_id: roomId })
    expect(await member(roomId, bob)).toMatchObject({ membership: 'knock', reason: 'please', displayname: 'Bob' })
    expect(await act(alice, roomId, 'invite', { user_id: bob.userId })).toBe(200)
    expect(await act(bob, roomId, 'join')).toBe(200)
  })

  it('can be taken back, and refused', async () => {
    const roomId = await alice.createRoom(knocking)
    const knock = () => bob.ok('POST', `${v3}/knock/${encodeURIComponent(roomId)}?via=a.test&server_name=b.test`, {})
    await knock()
    const since = await bob.syncToken()
    expect(await act(bob, roomId, 'leave', { reason: 'never mind' })).toBe(200)
    expect(await member(roomId, bob)).toEqual({ membership: 'leave', reason: 'never mind' })
    expect(Object.keys((await bob.sync({ since })).rooms.leave)).toEqual([roomId])
    await knock()
    expect(await act(bob, roomId, 'join')).toBe('403 M_FORBIDDEN')
    expect(await act(alice, roomId, 'kick', { user_id: bob.userId, reason: 'no' })).toBe(200)
    expect(await member(roomId, bob)).toEqual({ membership: 'leave', reason: 'no' })
  })

  it.each(roomVersionNames.map((version) => [version, Number(version) >= 7 ? 200 : 403] as const))(
    'on a room of version %s is answered %d',
    async (version, status) => {
      const roomId = await alice.createRoom({ ...knocking, room_version: version })
      expect((await bob.post(`${v3}/knock/${encodeURIComponent(roomId)}`, {})).status).toBe(status)
    },
  )

  it('works by the rule knock_restricted, too', async () => {
    const content = { join_rule: 'knock_restricted', allow: [] }
    const roomId = await alice.createRoom({ initial_state: [{ type: 'm.room.join_rules', content }] })
    await bob.ok('POST', `${v3}/knock/${encodeURIComponent(roomId)}`, {})
    expect(await membership(roomId, bob)).toBe('knock')
  })

  it('is refused to who is in the room, invited or banned, and where there is no room', async () => {
    const roomId = await alice.createRoom({ ...knocking, invite: [bob.userId] })
    await act(alice, roomId, 'ban', { user_id: carol.userId })
    for (const user of [alice, bob, carol]) {
      expect((await user.post(`${v3}/knock/${encodeURIComponent(roomId)}`, {})).body.errcode).toBe('M_FORBIDDEN')
    }
    expect((await bob.post(`${v3}/knock/${encodeURIComponent('!no:hearth.test')}`, {})).body.errcode).toBe(
      'M_NOT_FOUND',
    )
  })

  it('is refused where the room does not take it', async () => {
    for (const options of [{}, { ...knocking, room_version: '6' }]) {
      const roomId = await alice.createRoom(options)
      const { status, body } = await bob.post(`${v3}/knock/${encodeURIComponent(roomId)}`)
      expect([status, body.errcode]).toEqual([403, 'M_FORBIDDEN'])
    }
  })
})

describe('forgetting', () => {
  it('takes the history away, until one joins again', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const event = `${v3}/rooms/${encodeURIComponent(roomId)}/event/${encodeURIComponent(await bob.say(roomId, 'mine'))}`
    expect(await act(bob, roomId, 'forget')).toBe('400 M_UNKNOWN')
    await act(bob, roomId, 'leave')
    const messages = `${v3}/rooms/${encodeURIComponent(roomId)}/messages?dir=b`
    expect((await bob.get(messages)).status).toBe(200)
    expect(await act(bob, roomId, 'forget')).toBe(200)
    expect((await bob.get(messages)).body.errcode).toBe('M_FORBIDDEN')
    expect((await bob.get(event)).body.errcode).toBe('M_NOT_FOUND')
    await bob.join(roomId)
    expect((await bob.get(messages)).status).toBe(200)
  })

  it('a room one was never in is refused', async () => {
    expect(await act(bob, await alice.createRoom(), 'forget')).toBe('404 M_NOT_FOUND')
  })
})

describe('a forgotten room', () => {
  it('is in no sync, until one is invited again', async () => {
    const user = await homeserver.user()
    const roomId = await alice.createRoom()
    await user.join(roomId)
    await act(user, roomId, 'leave')
    const left = { room: { include_leave: true } }
    expect(Object.keys((await user.sync({ filter: left })).rooms.leave)).toEqual([roomId])
    expect(await act(user, roomId, 'forget')).toBe(200)
    expect(await act(user, roomId, 'forget')).toBe(200)
    const { rooms, next_batch: since } = await user.sync({ filter: left })
    expect(rooms?.leave).toBeUndefined()
    await act(alice, roomId, 'invite', { user_id: user.userId })
    expect(Object.keys((await user.sync({ since })).rooms.invite)).toEqual([roomId])
  })

  it.each(['invite', 'knock'])('cannot be one that one has an open %s to', async (kind) => {
    const user = await homeserver.user()
    const initial_state = [{ type: 'm.room.join_rules', content: { join_rule: 'knock' } }]
    const roomId = await alice.createRoom({ initial_state, ...(kind === 'invite' && { invite: [user.userId] }) })
    if (kind === 'knock') await user.ok('POST', `${v3}/knock/${encodeURIComponent(roomId)}`, {})
    expect(await act(user, roomId, 'forget')).toBe('400 M_UNKNOWN')
    expect(await act(user, roomId, 'leave')).toBe(200)
    expect(await act(user, roomId, 'forget')).toBe(200)
  })

  it('can be one that one is banned from', async () => {
    const roomId = await alice.createRoom()
    await act(alice, roomId, 'ban', { user_id: bob.userId })
    expect(await act(bob, roomId, 'leave')).toBe('403 M_FORBIDDEN')
    expect(await act(bob, roomId, 'forget')).toBe(200)
  })
})

describe('joined_rooms', () => {
  it('lists the rooms a user is in, and no others', async () => {
    const dora = await homeserver.user('dora')
    const [first, second] = [await dora.createRoom(), await alice.createRoom()]
    await dora.join(second)
    await alice.createRoom({ invite: [dora.userId] })
    await act(dora, second, 'leave')
    expect(await dora.ok('GET', `${v3}/joined_rooms`)).toEqual({ joined_rooms: [first] })
  })
})

describe('m.room.member as a state event', () => {
  const put = async (user: TestUser, roomId: string, target: string, content: object) => {
    const path = `${v3}/rooms/${encodeURIComponent(roomId)}/state/m.room.member/${encodeURIComponent(target)}`
    const { status, body } = await user.put(path, content)
    return body.errcode === undefined ? status : `${status} ${body.errcode}`
  }

  it('goes the way of the endpoints', async () => {
    const roomId = await alice.createRoom()
    expect(await put(bob, roomId, bob.userId, { membership: 'join' })).toBe(200)
    expect(await put(bob, roomId, bob.userId, { membership: 'join', displayname: 'Bobby' })).toBe(200)
    expect(await member(roomId, bob)).toEqual({ membership: 'join', displayname: 'Bobby' })
    expect(await put(alice, roomId, bob.userId, { membership: 'ban' })).toBe(200)
    expect(await put(alice, roomId, bob.userId, { membership: 'leave' })).toBe(200)
    expect(await put(alice, roomId, bob.userId, { membership: 'invite' })).toBe(200)
    expect(await membership(roomId, bob)).toBe('invite')
  })

  it('is refused where they refuse', async () => {
    const roomId = await alice.createRoom()
    expect(await put(alice, roomId, bob.userId, { membership: 'join' })).toBe('403 M_FORBIDDEN')
    expect(await put(alice, roomId, bob.userId, { membership: 'leave' })).toBe('403 M_FORBIDDEN')
    expect(await put(alice, roomId, '@zoe:elsewhere.test', { membership: 'invite' })).toBe('504 M_UNKNOWN')
    expect(await put(alice, roomId, '@a\0:hearth.test', { membership: 'invite' })).toBe('400 M_INVALID_PARAM')
    expect(await put(alice, roomId, bob.userId, { membership: 'friend' })).toBe('400 M_BAD_JSON')
    expect(await put(alice, roomId, bob.userId, {})).toBe('400 M_BAD_JSON')
  })
})
