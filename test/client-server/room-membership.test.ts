import { describe, expect, it } from '@jest/globals'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'

const homeserver = await startTestHomeserver()
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
    ['a room of another server', '!unknown:elsewhere.test', '404 M_NOT_FOUND'],
    ['what is no room id', 'unknown', '400 M_INVALID_PARAM'],
  ])('%s fails', async (_sentence, roomId, answer) => {
    expect(await act(bob, roomId, 'join')).toBe(answer)
    const { status, body } = await bob.post(`${v3}/join/${encodeURIComponent(roomId)}`)
    expect(`${status} ${body.errcode}`).toBe(answer)
  })

  it('an alias of nobody, or of another server, fails', async () => {
    for (const alias of ['#nobody:hearth.test', '#room:elsewhere.test']) {
      expect(await bob.post(`${v3}/join/${encodeURIComponent(alias)}`)).toMatchObject({
        status: 404,
        body: { errcode: 'M_NOT_FOUND' },
      })
    }
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

describe('leaving', () => {
  it('twice is fine', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    expect(await act(bob, roomId, 'leave', { reason: 'bored' })).toBe(200)
    expect(await act(bob, roomId, 'leave')).toBe(200)
    expect(await member(roomId, bob)).toEqual({ membership: 'leave', reason: 'bored' })
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
    ['a user of another server', { user_id: '@zoe:elsewhere.test' }, '403 M_FORBIDDEN'],
    ['an e-mail address', { medium: 'email', address: 'a@b.c', id_server: 'x' }, '403 M_FORBIDDEN'],
    ['without saying whom', {}, '400 M_BAD_JSON'],
    ['a number', { user_id: 1 }, '400 M_BAD_JSON'],
  ])('%s is refused', async (_sentence, body, answer) => {
    expect(await act(alice, await alice.createRoom(), 'invite', body)).toBe(answer)
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
    expect(await put(alice, roomId, '@zoe:elsewhere.test', { membership: 'invite' })).toBe('403 M_FORBIDDEN')
    expect(await put(alice, roomId, '@a\0:hearth.test', { membership: 'invite' })).toBe('400 M_INVALID_PARAM')
    expect(await put(alice, roomId, bob.userId, { membership: 'friend' })).toBe('400 M_BAD_JSON')
    expect(await put(alice, roomId, bob.userId, {})).toBe('400 M_BAD_JSON')
  })
})
