import { beforeEach, describe, expect, it } from '@jest/globals'
import { startTestHomeserver } from '../support/homeserver.js'
import { TestClient } from '../support/http.js'
import { remoteError, ScriptedRemote } from '../support/scripted-remote.js'

const remote = new ScriptedRemote()
const homeserver = await startTestHomeserver({ remote })
const alice = await homeserver.user('alice')
const nobody = new TestClient(homeserver.baseUrl)
const v3 = '/_matrix/client/v3'
const answerOf = ({ status, body }: { status: number; body: { errcode?: string } }) =>
  body.errcode === undefined ? status : `${status} ${body.errcode}`
beforeEach(() => {
  remote.script = () => undefined
  remote.asked.length = 0
})

const alias = (name = '#tea:elsewhere.test') => nobody.get(`${v3}/directory/room/${encodeURIComponent(name)}`)
const profile = (field = '') => nobody.get(`${v3}/profile/${encodeURIComponent('@bob:elsewhere.test')}${field}`)
const rooms = (parameters = '') => nobody.get(`${v3}/publicRooms?server=elsewhere.test${parameters}`)

describe('whatever is asked of another server', () => {
  it.each<[string, () => unknown, string]>([
    ['that is not reached', () => undefined, '504 M_UNKNOWN'],
    ['that forgot our token', () => remoteError('elsewhere.test', 401, 'M_UNKNOWN_TOKEN'), '502 M_UNKNOWN'],
    ['that has too much to do', () => remoteError('elsewhere.test', 429, 'M_LIMIT_EXCEEDED'), '429 M_LIMIT_EXCEEDED'],
    ['that fails', () => remoteError('elsewhere.test', 500, 'M_UNKNOWN'), '502 M_UNKNOWN'],
    ['whose web server has no such page', () => remoteError('elsewhere.test', 404, 'M_UNKNOWN'), '502 M_UNKNOWN'],
    ['that has none', () => remoteError('elsewhere.test', 404, 'M_NOT_FOUND'), '404 M_NOT_FOUND'],
    ['that answers no JSON', () => '<html>', '502 M_UNKNOWN'],
    ['that answers a list', () => [], '502 M_UNKNOWN'],
    ['that answers the same key twice', () => '{"room_id":1,"room_id":2}', '502 M_UNKNOWN'],
    ['that nests without an end', () => '['.repeat(100_000), '502 M_UNKNOWN'],
  ])('%s, is answered as what a client can do with', async (_sentence, answer, expected) => {
    remote.script = () => {
      const given = answer()
      if (given instanceof Error) throw given
      return given as object
    }
    for (const asked of [await alias(), await profile(), await profile('/displayname'), await rooms()]) {
      expect(answerOf(asked)).toBe(expected)
    }
  })
})

describe('an alias of another server', () => {
  it('is asked of that server', async () => {
    remote.script = () => ({ room_id: '!room:far.test', servers: ['far.test', 'elsewhere.test:8448'] })
    expect((await alias('#tea & cake:elsewhere.test:8448')).body).toEqual({
      room_id: '!room:far.test',
      servers: ['far.test', 'elsewhere.test:8448'],
    })
    expect(remote.asked).toEqual([
      {
        server: 'elsewhere.test:8448',
        method: 'GET',
        path: '/_matrix/federation/v1/query/directory?room_alias=%23tea%20%26%20cake%3Aelsewhere.test%3A8448',
      },
    ])
  })

  it.each<[string, object]>([
    ['what is no room id', { room_id: '#another:elsewhere.test', servers: [] }],
    ['a path', { room_id: '!../../x', servers: ['elsewhere.test'] }],
    ['no room', { servers: ['elsewhere.test'] }],
  ])('is no room when the answer is %s', async (_sentence, answer) => {
    remote.script = () => answer
    expect(answerOf(await alias())).toBe('502 M_UNKNOWN')
  })

  it('keeps a hundred servers with a name, or the one that was asked', async () => {
    const room_id = '!room:far.test'
    remote.script = () => ({ room_id, servers: ['not a name', 1, null, 'far.test', 'far.test', 'http://x/'] })
    expect((await alias()).body.servers).toEqual(['far.test'])
    remote.script = () => ({ room_id, servers: Array.from({ length: 1_000 }, (_, index) => `s${index}.test`) })
    expect((await alias()).body.servers).toHaveLength(100)
    remote.script = () => ({ room_id })
    expect((await alias()).body.servers).toEqual(['elsewhere.test'])
  })
})

describe('the profile of a user of another server', () => {
  it('is asked of that server, whole or a field', async () => {
    const whole = { displayname: 'Bob', avatar_url: 'mxc://elsewhere.test/a', 'm.tz': 'Europe/London' }
    remote.script = (_server, { path }) => (path.includes('field=') ? { 'm.tz': 'Europe/London' } : whole)
    expect((await profile()).body).toEqual(whole)
    expect((await profile('/m.tz')).body).toEqual({ 'm.tz': 'Europe/London' })
    expect(answerOf(await profile('/displayname'))).toBe('404 M_NOT_FOUND')
    expect(remote.asked.map(({ path }) => path)).toEqual([
      '/_matrix/federation/v1/query/profile?user_id=%40bob%3Aelsewhere.test',
      '/_matrix/federation/v1/query/profile?user_id=%40bob%3Aelsewhere.test&field=m.tz',
      '/_matrix/federation/v1/query/profile?user_id=%40bob%3Aelsewhere.test&field=displayname',
    ])
  })

  it('has no names and avatars of other types', async () => {
    remote.script = () => ({ displayname: { $: 1 }, avatar_url: 'javascript:alert(1)', 'm.tz': null, other: [1] })
    expect((await profile()).body).toEqual({ other: [1] })
    remote.script = () => '{"__proto__":{"displayname":"x"},"displayname":null}'
    expect(answerOf(await profile('/displayname'))).toBe('404 M_NOT_FOUND')
  })

  it('may be kept back', async () => {
    remote.script = () => {
      throw remoteError('elsewhere.test', 403, 'M_FORBIDDEN')
    }
    expect(answerOf(await profile())).toBe('403 M_FORBIDDEN')
  })
})

describe('the published rooms of another server', () => {
  it('are asked of it, a page at a time', async () => {
    const room = {
      room_id: '!room:elsewhere.test',
      num_joined_members: 7,
      world_readable: true,
      guest_can_join: false,
      join_rule: 'knock',
      name: 'Tea',
      avatar_url: 'mxc://elsewhere.test/tea',
      canonical_alias: '#tea:elsewhere.test',
    }
    const page = { next_batch: 'n', prev_batch: 'p', total_room_count_estimate: 9 }
    remote.script = () => ({ chunk: [{ ...room, 'org.example': 1 }, { room_id: 'x' }, 7, null], ...page })
    expect((await rooms('&limit=5&since=a%26b')).body).toEqual({ chunk: [room], ...page })
    const search = { filter: { generic_search_term: 'tea', room_types: [null, 'm.space'] }, limit: 5_000 }
    await alice.ok('POST', `${v3}/publicRooms?server=elsewhere.test`, search)
    expect(remote.asked).toEqual([
      { server: 'elsewhere.test', method: 'GET', path: '/_matrix/federation/v1/publicRooms?limit=5&since=a%26b' },
      {
        server: 'elsewhere.test',
        method: 'POST',
        path: '/_matrix/federation/v1/publicRooms',
        content: { ...search, limit: 1_000 },
      },
    ])
  })

  it('are no more than were asked for, with fields of other types left out', async () => {
    const chunk = Array.from({ length: 50 }, (_, index) => ({
      room_id: `!${index}:elsewhere.test`,
      num_joined_members: -1,
      name: 1,
      topic: {},
      canonical_alias: 'tea',
      avatar_url: 'https://elsewhere.test/pixel.png',
      world_readable: 'yes',
    }))
    remote.script = () => ({ chunk, total_room_count_estimate: 'many', next_batch: 1 })
    const { body } = await rooms('&limit=2')
    expect(body.chunk).toHaveLength(2)
    expect(body).toEqual({
      chunk: [
        {
          room_id: '!0:elsewhere.test',
          num_joined_members: 0,
          world_readable: false,
          guest_can_join: false,
          join_rule: 'public',
        },
        expect.anything(),
      ],
    })
  })
})
