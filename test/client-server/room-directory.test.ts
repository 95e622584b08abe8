import { describe, expect, it } from '@jest/globals'
import { startTestHomeserver } from '../support/homeserver.js'
import { TestClient } from '../support/http.js'

const homeserver = await startTestHomeserver()
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const nobody = new TestClient(homeserver.baseUrl)
const v3 = '/_matrix/client/v3'
const aliasPath = (alias: string) => `${v3}/directory/room/${encodeURIComponent(alias)}`

const answerOf = ({ status, body }: { status: number; body: { errcode?: string } }) =>
  body.errcode === undefined ? status : `${status} ${body.errcode}`

describe('room aliases', () => {
  it('are made by members, found by everybody, and listed', async () => {
    const roomId = await alice.createRoom()
    const alias = '#made:hearth.test'
    expect(answerOf(await bob.put(aliasPath(alias), { room_id: roomId }))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await alice.put(aliasPath(alias), { room_id: roomId }))).toBe(200)
    expect(answerOf(await alice.put(aliasPath(alias), { room_id: roomId }))).toBe('409 M_UNKNOWN')
    expect((await nobody.get(aliasPath(alias))).body).toEqual({ room_id: roomId, servers: ['hearth.test'] })
    expect(await alice.ok('GET', `${v3}/rooms/${roomId}/aliases`)).toEqual({ aliases: [alias] })
    expect(answerOf(await bob.get(`${v3}/rooms/${roomId}/aliases`))).toBe('403 M_FORBIDDEN')
  })

  it('are deleted by who made them and by who may name the room, and leave the canonical alias', async () => {
    const roomId = await alice.createRoom({ preset: 'public_chat', room_alias_name: 'gone' })
    await bob.join(roomId)
    await bob.put(aliasPath('#by-bob:hearth.test'), { room_id: roomId })
    expect(answerOf(await bob.delete(aliasPath('#gone:hearth.test')))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await bob.delete(aliasPath('#by-bob:hearth.test')))).toBe(200)
    expect(answerOf(await alice.delete(aliasPath('#gone:hearth.test')))).toBe(200)
    expect(answerOf(await nobody.get(aliasPath('#gone:hearth.test')))).toBe('404 M_NOT_FOUND')
    expect(await alice.ok('GET', `${v3}/rooms/${roomId}/state/m.room.canonical_alias`)).toEqual({})
    expect(answerOf(await alice.delete(aliasPath('#gone:hearth.test')))).toBe('404 M_NOT_FOUND')
  })

  it.each<[string, string, unknown, string]>([
    ['of another server', '#a:elsewhere.test', {}, '400 M_INVALID_PARAM'],
    ['that are none', 'a', {}, '400 M_INVALID_PARAM'],
    ['with spaces', '#a b:hearth.test', {}, '400 M_INVALID_PARAM'],
    ['of rooms that are not here', '#a:hearth.test', { room_id: '!unknown:hearth.test' }, '403 M_FORBIDDEN'],
    ['of what is no room', '#a:hearth.test', { room_id: 'room' }, '400 M_BAD_JSON'],
    ['of nothing', '#a:hearth.test', { room_id: undefined }, '400 M_BAD_JSON'],
  ])('%s are refused', async (_sentence, alias, body, answer) => {
    const roomId = await alice.createRoom()
    expect(answerOf(await alice.put(aliasPath(alias), { room_id: roomId, ...(body as object) }))).toBe(answer)
  })
})

describe('the room directory', () => {
  it('shows the rooms that were published', async () => {
    const roomId = await alice.createRoom({
      preset: 'public_chat',
      name: 'Tea',
      topic: 'Green and BLACK',
      visibility: 'public',
    })
    await bob.join(roomId)
    const hidden = await alice.createRoom({ preset: 'public_chat', name: 'Coffee' })
    const space = await alice.createRoom({ visibility: 'public', creation_content: { type: 'm.space' } })
    const list = await nobody.get(`${v3}/publicRooms`)
    expect(list.body).toEqual({
      chunk: [
        {
          room_id: roomId,
          name: 'Tea',
          topic: 'Green and BLACK',
          num_joined_members: 2,
          world_readable: false,
          guest_can_join: false,
          join_rule: 'public',
        },
        expect.objectContaining({ room_id: space, room_type: 'm.space' }),
      ],
      total_room_count_estimate: 2,
    })

    const query = async (filter: object) =>
      (await bob.ok('POST', `${v3}/publicRooms`, { filter })).chunk.map((room: { room_id: string }) => room.room_id)
    expect(await query({ generic_search_term: 'bLaCk' })).toEqual([roomId])
    expect(await query({ generic_search_term: '%' })).toEqual([])
    expect(await query({ room_types: [null] })).toEqual([roomId])
    expect(await query({ room_types: ['m.space'] })).toEqual([space])
    expect(await query({ room_types: ['m.space', null] })).toEqual([roomId, space])
    expect(await query({ room_types: [] })).toEqual([])

    const visibility = `${v3}/directory/list/room/${encodeURIComponent(hidden)}`
    expect((await nobody.get(visibility)).body).toEqual({ visibility: 'private' })
    expect(answerOf(await bob.put(visibility, { visibility: 'public' }))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await alice.put(visibility, {}))).toBe(200)
    expect((await nobody.get(visibility)).body).toEqual({ visibility: 'public' })
    expect(await query({ generic_search_term: 'coffee' })).toEqual([hidden])
    await alice.put(visibility, { visibility: 'private' })
    expect(await query({ generic_search_term: 'coffee' })).toEqual([])
  })

  it('is read in pages, and goes back by them', async () => {
    const first = await nobody.get(`${v3}/publicRooms?limit=1`)
    expect(first.body.chunk).toHaveLength(1)
    expect(first.body).not.toHaveProperty('prev_batch')
    const second = await nobody.get(`${v3}/publicRooms?limit=1&since=${first.body.next_batch}`)
    expect(second.body).not.toHaveProperty('next_batch')
    expect(second.body.chunk[0].room_id).not.toBe(first.body.chunk[0].room_id)
    const back = await nobody.get(`${v3}/publicRooms?limit=1&since=${second.body.prev_batch}`)
    expect(back.body.chunk).toEqual(first.body.chunk)
  })

  it.each([
    ['a token that is none', 'since=what', '400 M_INVALID_PARAM'],
    ['a negative limit', 'limit=-1', '400 M_INVALID_PARAM'],
  ])('refuses %s', async (_sentence, query, answer) => {
    expect(answerOf(await nobody.get(`${v3}/publicRooms?${query}`))).toBe(answer)
  })

  it('refuses searches of the wrong shape', async () => {
    for (const body of [{ filter: [] }, { filter: { generic_search_term: 1 } }, { limit: 'a' }]) {
      expect(answerOf(await bob.post(`${v3}/publicRooms`, body))).toBe('400 M_BAD_JSON')
    }
    expect(answerOf(await nobody.post(`${v3}/publicRooms`, {}))).toBe('401 M_MISSING_TOKEN')
  })
})
