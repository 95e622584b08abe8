import { describe, expect, it } from '@jest/globals'
import { startTestHomeserver } from '../support/homeserver.js'
import { TestClient } from '../support/http.js'

const homeserver = await startTestHomeserver()
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const anybody = new TestClient(homeserver.baseUrl)

const base = '/_matrix/client/v3'
const profileOf = (user: { userId: string }, key = '') =>
  `${base}/profile/${encodeURIComponent(user.userId)}${key === '' ? '' : `/${key}`}`
const dataOf = (user: { userId: string }, type: string) =>
  `${base}/user/${encodeURIComponent(user.userId)}/account_data/${type}`
const inRoom = (user: { userId: string }, roomId: string, rest: string) =>
  `${base}/user/${encodeURIComponent(user.userId)}/rooms/${encodeURIComponent(roomId)}/${rest}`

describe('a profile', () => {
  it('is set by its user and read by anybody', async () => {
    await alice.ok('PUT', profileOf(alice, 'displayname'), { displayname: 'Alice' })
    await alice.ok('PUT', profileOf(alice, 'avatar_url'), { avatar_url: 'mxc://hearth.test/a' })
    await alice.ok('PUT', profileOf(alice, 'm.tz'), { 'm.tz': 'Europe/London' })
    expect((await anybody.get(profileOf(alice))).body).toEqual({
      displayname: 'Alice',
      avatar_url: 'mxc://hearth.test/a',
      'm.tz': 'Europe/London',
    })
    expect((await anybody.get(profileOf(alice, 'displayname'))).body).toEqual({ displayname: 'Alice' })
  })

  it('of nobody is 404, and so is a field that is not set', async () => {
    expect(await anybody.get(profileOf({ userId: '@nobody:hearth.test' }))).toMatchObject({ status: 404 })
    const { status, body } = await anybody.get(profileOf(bob, 'displayname'))
    expect([status, body.errcode]).toEqual([404, 'M_NOT_FOUND'])
  })

  it('of somebody else is not to be changed', async () => {
    const { status, body } = await bob.put(profileOf(alice, 'displayname'), { displayname: 'Mallory' })
    expect([status, body.errcode]).toEqual([403, 'M_FORBIDDEN'])
    expect(await bob.delete(profileOf(alice, 'displayname'))).toMatchObject({ status: 403 })
  })

  it.each([
    ['a key of 256 bytes', 'k'.repeat(256), {}, 'M_KEY_TOO_LARGE'],
    ['a key with capitals', 'Key', { Key: 1 }, 'M_INVALID_PARAM'],
    ['a body without the key', 'displayname', { name: 'x' }, 'M_MISSING_PARAM'],
    ['a name that is no text', 'displayname', { displayname: 1 }, 'M_BAD_JSON'],
    ['a name with U+0000', 'displayname', { displayname: 'a\0b' }, 'M_BAD_JSON'],
    ['a name of a book', 'displayname', { displayname: 'x'.repeat(257) }, 'M_BAD_JSON'],
    ['an avatar from the web', 'avatar_url', { avatar_url: 'https://example.org/a.png' }, 'M_BAD_JSON'],
    ['a field of 64 KiB', 'org.example.big', { 'org.example.big': 'x'.repeat(65_536) }, 'M_PROFILE_TOO_LARGE'],
  ])('refuses %s', async (_what, key, body, errcode) => {
    const answer = await bob.put(profileOf(bob, key), body)
    expect([answer.status, answer.body.errcode]).toEqual([400, errcode])
  })

  it('loses its name by DELETE, and by an empty one from clients that know no DELETE', async () => {
    await bob.ok('PUT', profileOf(bob, 'displayname'), { displayname: 'Bob' })
    await bob.ok('DELETE', profileOf(bob, 'displayname'))
    expect(await anybody.get(profileOf(bob, 'displayname'))).toMatchObject({ status: 404 })
    await bob.ok('PUT', profileOf(bob, 'displayname'), { displayname: 'Bob' })
    await bob.ok('PUT', profileOf(bob, 'displayname'), { displayname: '' })
    expect((await anybody.get(profileOf(bob))).body).toEqual({})
  })
})

describe('a change of name', () => {
  it('is shown in every room the user is in, and keeps what else their membership says', async () => {
    const rooms = await Promise.all([alice.createRoom(), alice.createRoom()])
    await Promise.all(rooms.map((room) => bob.join(room)))
    const member = `state/m.room.member/${encodeURIComponent(bob.userId)}`
    const [one] = rooms
    await bob.ok('PUT', `${base}/rooms/${one}/${member}`, { membership: 'join', 'org.example.note': 'hello' })
    await bob.ok('PUT', profileOf(bob, 'displayname'), { displayname: 'Robert' })
    for (const room of rooms) {
      const content = await alice.ok('GET', `${base}/rooms/${room}/${member}`)
      expect(content).toMatchObject({ membership: 'join', displayname: 'Robert' })
    }
    expect(await alice.ok('GET', `${base}/rooms/${one}/${member}`)).toMatchObject({ 'org.example.note': 'hello' })
    await bob.ok('DELETE', profileOf(bob, 'displayname'))
    expect(await alice.ok('GET', `${base}/rooms/${one}/${member}`)).not.toHaveProperty('displayname')
  })

  it('is not told to rooms the user has left', async () => {
    const room = await alice.createRoom()
    await bob.join(room)
    await bob.ok('POST', `${base}/rooms/${room}/leave`)
    await bob.ok('PUT', profileOf(bob, 'displayname'), { displayname: 'Gone' })
    const content = await alice.ok('GET', `${base}/rooms/${room}/state/m.room.member/${bob.userId}`)
    expect(content.membership).toBe('leave')
  })
})

describe('account data', () => {
  it('comes back as it was sent, to its user alone', async () => {
    const text = '{ "n": 12345678901234567890, "b": 1.0, "a": {"__proto__": []}, "z": "\\u0000" }'
    await alice.ok('PUT', dataOf(alice, 'org.example.text'), text)
    const response = await fetch(homeserver.baseUrl + dataOf(alice, 'org.example.text'), {
      headers: { Authorization: `Bearer ${alice.accessToken}` },
    })
    expect(await response.text()).toBe(text)
    expect((await bob.get(dataOf(alice, 'org.example.text'))).body.errcode).toBe('M_FORBIDDEN')
    expect((await bob.put(dataOf(alice, 'org.example.text'), {})).body.errcode).toBe('M_FORBIDDEN')
  })

  it('that was never set is 404', async () => {
    const { status, body } = await alice.get(dataOf(alice, 'org.example.absent'))
    expect([status, body.errcode]).toEqual([404, 'M_NOT_FOUND'])
  })

  it.each(['m.fully_read', 'm.push_rules'])('%s has endpoints of its own: 405', async (type) => {
    const room = await alice.createRoom()
    for (const path of [dataOf(alice, type), inRoom(alice, room, `account_data/${type}`)]) {
      const { status, body } = await alice.put(path, {})
      expect([status, body.errcode]).toEqual([405, 'M_BAD_JSON'])
    }
  })

  it('of a room is apart from the global one', async () => {
    const room = await alice.createRoom()
    await alice.ok('PUT', inRoom(alice, room, 'account_data/org.example.a'), { room: true })
    await alice.ok('PUT', dataOf(alice, 'org.example.a'), { room: false })
    expect(await alice.ok('GET', inRoom(alice, room, 'account_data/org.example.a'))).toEqual({ room: true })
    expect(await alice.ok('GET', dataOf(alice, 'org.example.a'))).toEqual({ room: false })
    expect((await alice.get(inRoom(alice, 'no-room', 'account_data/a'))).body.errcode).toBe('M_INVALID_PARAM')
    expect((await alice.get(inRoom(alice, '!none:hearth.test', 'account_data/a'))).status).toBe(404)
  })
})

describe('tags', () => {
  it('are set, changed, listed and deleted', async () => {
    const room = await alice.createRoom()
    const tags = () => alice.ok('GET', inRoom(alice, room, 'tags'))
    expect(await tags()).toEqual({ tags: {} })
    await alice.ok('PUT', inRoom(alice, room, 'tags/m.favourite'), { order: 0.25 })
    await alice.ok('PUT', inRoom(alice, room, 'tags/u.work'), {})
    await alice.ok('PUT', inRoom(alice, room, 'tags/__proto__'), {})
    expect(Object.keys((await tags()).tags)).toEqual(['m.favourite', 'u.work', '__proto__'])
    await alice.ok('PUT', inRoom(alice, room, 'tags/m.favourite'), { order: 0.5 })
    await alice.ok('DELETE', inRoom(alice, room, 'tags/u.work'))
    await alice.ok('DELETE', inRoom(alice, room, 'tags/__proto__'))
    expect(await tags()).toEqual({ tags: { 'm.favourite': { order: 0.5 } } })
    expect(await alice.ok('GET', inRoom(alice, room, 'account_data/m.tag'))).toEqual(await tags())
  })

  it('are all kept when they are set at once', async () => {
    const room = await alice.createRoom()
    const names = ['u.a', 'u.b', 'u.c', 'u.d']
    await Promise.all(names.map((name) => alice.ok('PUT', inRoom(alice, room, `tags/${name}`), {})))
    expect(Object.keys((await alice.ok('GET', inRoom(alice, room, 'tags'))).tags).sort()).toEqual(names)
  })
})

describe('the user directory', () => {
  it('finds those who share a room or are in a public one, by id and name, whatever the case', async () => {
    const carol = await homeserver.user('carol')
    const dave = await homeserver.user('dave')
    await carol.ok('PUT', profileOf(carol, 'displayname'), { displayname: 'Zoë Quux' })
    await dave.ok('PUT', profileOf(dave, 'displayname'), { displayname: 'quux the hermit' })
    const search = (term: string) => alice.ok('POST', `${base}/user_directory/search`, { search_term: term })
    expect((await search('QUUX')).results).toEqual([])
    await carol.createRoom({ preset: 'public_chat' })
    expect(await search('QUUX')).toEqual({
      results: [{ user_id: carol.userId, display_name: 'Zoë Quux' }],
      limited: false,
    })
    const room = await dave.createRoom({ preset: 'private_chat', invite: [alice.userId] })
    expect((await search('quux')).results).toHaveLength(1)
    await alice.join(room)
    expect((await search('quux')).results.map((one: { user_id: string }) => one.user_id)).toEqual([
      dave.userId,
      carol.userId,
    ])
  })
})
