import { describe, expect, it } from '@jest/globals'
import { startTestHomeserver } from '../support/homeserver.js'
import { serverApp } from '../support/server-app.js'

const homeserver = await startTestHomeserver()
const asking = await serverApp(homeserver)
const elsewhere = asking('elsewhere.test')
const alice = await homeserver.user('alice')
const query = (type: string, parameters: Record<string, string>) =>
  elsewhere.get(`/_matrix/federation/v1/query/${type}?${new URLSearchParams(parameters)}`)
const answerOf = ({ status, body }: { status: number; body: { errcode?: string } }) =>
  body.errcode === undefined ? status : `${status} ${body.errcode}`

describe('a query of another server', () => {
  it('for an alias is answered with the room and the servers in it, this one first', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'tea' })
    const { db } = homeserver.database
    const room = await homeserver.services.rooms.named(roomId)
    for (const userId of ['@a:big.test', '@b:big.test', '@a:small.test:8448', '@b:hearth.test.evil']) {
      await db
        .insertInto('membership')
        .values({
          room: room.room,
          user_id: userId,
          membership: 'join',
          event: null,
          position: 1 as never,
          sender: userId,
          forgotten: false,
          stripped_state: null,
        })
        .execute()
    }
    expect((await query('directory', { room_alias: '#tea:hearth.test' })).body).toEqual({
      room_id: roomId,
      servers: ['hearth.test', 'big.test', 'hearth.test.evil', 'small.test:8448'],
    })
  })

  it.each([
    ['directory', { room_alias: '#nothing:hearth.test' }, '404 M_NOT_FOUND'],
    ['directory', { room_alias: '#tea:other.test' }, '404 M_NOT_FOUND'],
    ['directory', { room_alias: 'tea' }, '400 M_INVALID_PARAM'],
    ['directory', {}, '400 M_MISSING_PARAM'],
    ['profile', { user_id: '@nobody:hearth.test' }, '404 M_NOT_FOUND'],
    ['profile', { user_id: '@alice:other.test' }, '404 M_NOT_FOUND'],
    ['profile', { user_id: 'alice' }, '400 M_INVALID_PARAM'],
    ['profile', {}, '400 M_MISSING_PARAM'],
    ['profile', { user_id: '@alice:hearth.test', field: 'm.tz' }, '404 M_NOT_FOUND'],
    ['profile', { user_id: '@alice:hearth.test', field: '__proto__' }, '404 M_NOT_FOUND'],
    ['whatever', {}, '404 M_NOT_FOUND'],
  ])('for %s %j is refused', async (type, parameters, answer) => {
    expect(answerOf(await query(type, parameters))).toBe(answer)
  })

  it('for a profile is answered with all of it, or the field that was asked for', async () => {
    const user_id = alice.userId
    expect((await query('profile', { user_id })).body).toEqual({})
    const path = `/_matrix/client/v3/profile/${encodeURIComponent(user_id)}`
    await alice.put(`${path}/displayname`, { displayname: 'Alice' })
    await alice.put(`${path}/org.example`, { 'org.example': [1] })
    expect((await query('profile', { user_id })).body).toEqual({ displayname: 'Alice', 'org.example': [1] })
    expect((await query('profile', { user_id, field: 'displayname' })).body).toEqual({ displayname: 'Alice' })
    expect((await query('profile', { user_id, field: 'org.example' })).body).toEqual({ 'org.example': [1] })
  })

  it('has to be signed', async () => {
    for (const type of ['directory', 'profile', 'whatever']) {
      expect(answerOf(await asking().get(`/_matrix/federation/v1/query/${type}`))).toBe('401 M_UNAUTHORIZED')
    }
  })
})

describe('the published rooms', () => {
  it('are shown to other servers, without those that do not federate', async () => {
    const publish = (name: string, creation_content = {}) =>
      alice.createRoom({ preset: 'public_chat', visibility: 'public', name, creation_content })
    const [open, space] = [await publish('open'), await publish('space', { type: 'm.space' })]
    const closed = await publish('closed', { 'm.federate': false })
    const path = '/_matrix/federation/v1/publicRooms'
    const roomsIn = ({ body }: { body: { chunk: { room_id: string }[] } }) =>
      body.chunk.map(({ room_id }) => room_id).sort()
    const all = await elsewhere.get(`${path}?limit=0`)
    expect(roomsIn(all)).toEqual([open, space].sort())
    expect(all.body.total_room_count_estimate).toBe(2)
    expect(roomsIn(await elsewhere.get(`${path}?limit=1`))).toHaveLength(1)
    expect(roomsIn(await elsewhere.post(path, { filter: { room_types: ['m.space'] } }))).toEqual([space])
    expect(roomsIn(await elsewhere.post(path, { filter: { generic_search_term: 'OPEN' } }))).toEqual([open])
    expect(roomsIn(await alice.get('/_matrix/client/v3/publicRooms'))).toEqual([open, space, closed].sort())
    expect(answerOf(await elsewhere.get(`${path}?since=what`))).toBe('400 M_INVALID_PARAM')
    expect(answerOf(await asking().get(path))).toBe('401 M_UNAUTHORIZED')
  })
})
