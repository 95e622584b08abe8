import { describe, expect, it } from '@jest/globals'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'

const homeserver = await startTestHomeserver()
const alice = await homeserver.user('alice')
const bob = await homeserver.user('bob')
const v3 = '/_matrix/client/v3'
const of = (roomId: string) => `${v3}/rooms/${encodeURIComponent(roomId)}`

const answerOf = ({ status, body }: { status: number; body: { errcode?: string } }) =>
  body.errcode === undefined ? status : `${status} ${body.errcode}`

interface ClientEvent {
  event_id: string
  type: string
  sender: string
  state_key?: string
  content: { body?: string; membership?: string }
  unsigned: Record<string, unknown>
}
const bodies = (events: ClientEvent[]) => events.map((event) => event.content.body ?? event.type)

describe('send', () => {
  it('gives the event back as it was sent, with the transaction id to the device that sent it', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const content = '{"msgtype":"m.text","body":"a\\u0000b","__proto__":{"x":1},"n":9007199254740991}'
    const { body } = await alice.put(`${of(roomId)}/send/m.room.message/txn-1`, content)
    const event = await alice.ok('GET', `${of(roomId)}/event/${encodeURIComponent(body.event_id)}`)
    expect(event).toMatchObject({
      event_id: body.event_id,
      room_id: roomId,
      sender: alice.userId,
      type: 'm.room.message',
      unsigned: { transaction_id: 'txn-1', membership: 'join' },
    })
    expect(JSON.stringify(event.content)).toBe(JSON.stringify(JSON.parse(content)))
    const forBob = await bob.ok('GET', `${of(roomId)}/event/${encodeURIComponent(body.event_id)}`)
    expect(forBob.unsigned).not.toHaveProperty('transaction_id')
  })

  it('twice with one transaction id makes one event, at once or later', async () => {
    const roomId = await alice.createRoom()
    const send = (type = 'm.room.message') =>
      alice.ok('PUT', `${of(roomId)}/send/${type}/same`, { body: 'x', msgtype: 'm.text' })
    const [first, second] = await Promise.all([send(), send()])
    expect(second).toEqual(first)
    expect(await send()).toEqual(first)
    expect(await send('org.example.other')).not.toEqual(first)
  })

  it.each<[string, string, unknown, string]>([
    ['a body that is a list', 'm.room.message', [], '400 M_BAD_JSON'],
    ['a body that is no JSON', 'm.room.message', '{', '400 M_NOT_JSON'],
    ['a fraction', 'm.room.message', '{"a":1.5}', '400 M_BAD_JSON'],
    ['an integer beyond 2^53', 'm.room.message', '{"a":9007199254740992}', '400 M_BAD_JSON'],
    ['1.0, which is written 1', 'm.room.message', '{"a":1.0}', '400 M_BAD_JSON'],
    ['an event of 70,000 bytes', 'm.room.message', { body: 'x'.repeat(70_000) }, '413 M_TOO_LARGE'],
    ['a type of 300 bytes', 'x'.repeat(300), {}, '413 M_TOO_LARGE'],
    ['a member event without a state key', 'm.room.member', { membership: 'join' }, '403 M_FORBIDDEN'],
    ['a redaction of nothing', 'm.room.redaction', {}, '400 M_BAD_JSON'],
  ])('refuses %s', async (_sentence, type, body, answer) => {
    const roomId = await alice.createRoom()
    expect(answerOf(await alice.put(`${of(roomId)}/send/${type}/1`, body))).toBe(answer)
  })

  it('takes any number in rooms before version 6', async () => {
    const roomId = await alice.createRoom({ room_version: '5' })
    expect((await alice.put(`${of(roomId)}/send/m.room.message/1`, '{"a":1.5}')).status).toBe(200)
  })

  it('is refused to who is not in the room, and in rooms that are not here', async () => {
    const roomId = await alice.createRoom()
    for (const room of [roomId, '!unknown:hearth.test']) {
      expect(answerOf(await bob.put(`${of(room)}/send/m.room.message/1`, {}))).toBe('403 M_FORBIDDEN')
    }
  })
})

describe('redaction', () => {
  it.each(roomVersionNames)('in version %s, by the endpoint and by send', async (version) => {
    const roomId = await alice.createRoom({ preset: 'public_chat', room_version: version })
    await bob.join(roomId)
    const [first, second] = [await bob.say(roomId, 'one'), await bob.say(roomId, 'two')]
    const redact = `${of(roomId)}/redact/${encodeURIComponent(first)}/r1`
    const byEndpoint = (await alice.ok('PUT', redact, { reason: 'spam' })).event_id
    const sent = await bob.ok('PUT', `${of(roomId)}/send/m.room.redaction/r2`, { redacts: second, reason: 'oops' })

    for (const [target, by, reason] of [
      [first, byEndpoint, 'spam'],
      [second, sent.event_id, 'oops'],
    ]) {
      const event = await bob.ok('GET', `${of(roomId)}/event/${encodeURIComponent(target)}`)
      expect(event.content).toEqual({})
      // Where `redacts` is, clients of old and of new versions find it.
      expect(event.unsigned.redacted_because).toMatchObject({
        event_id: by,
        redacts: target,
        content: { redacts: target, reason },
      })
    }
    const stored = await homeserver.services.rooms.named(roomId)
    const row = await homeserver.services.stores.events.byId(stored.room, sent.event_id)
    const isInContent = rulesOf(version)!.redactsInContent
    expect([Object.hasOwn(row!.event.content, 'redacts'), Object.hasOwn(row!.event.pdu, 'redacts')]).toEqual([
      isInContent,
      !isInContent,
    ])
  })

  it('of what others sent needs the level, and an event that is there', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const eventId = await alice.say(roomId, 'mine')
    expect(answerOf(await bob.put(`${of(roomId)}/redact/${encodeURIComponent(eventId)}/1`))).toBe('403 M_FORBIDDEN')
    const other = await alice.createRoom()
    expect(answerOf(await alice.put(`${of(other)}/redact/${encodeURIComponent(eventId)}/1`))).toBe('404 M_NOT_FOUND')
    expect(answerOf(await alice.put(`${of(other)}/redact/what/1`))).toBe('404 M_NOT_FOUND')
  })
})

describe('state', () => {
  it('is set and read with and without its last segment, and the slash before it', async () => {
    const roomId = await alice.createRoom()
    const set = (path: string, value: number) => alice.ok('PUT', `${of(roomId)}/state/${path}`, { value })
    const get = (path: string) => alice.ok('GET', `${of(roomId)}/state/${path}`)
    await set('org.example', 1)
    expect(await get('org.example')).toEqual({ value: 1 })
    expect(await get('org.example/')).toEqual({ value: 1 })
    await set('org.example/', 2)
    expect(await get('org.example')).toEqual({ value: 2 })
    await set('org.example/key', 3)
    expect(await get('org.example/key')).toEqual({ value: 3 })
    expect(await get('org.example/key/')).toEqual({ value: 3 })
    await set(`org.example/${encodeURIComponent('a/b\0')}`, 4)
    expect(await get(`org.example/${encodeURIComponent('a/b\0')}`)).toEqual({ value: 4 })
    expect(await get('org.example?format=event')).toMatchObject({
      type: 'org.example',
      state_key: '',
      content: { value: 2 },
      room_id: roomId,
      sender: alice.userId,
    })
    expect(answerOf(await alice.get(`${of(roomId)}/state/org.example/none`))).toBe('404 M_NOT_FOUND')
    const state: ClientEvent[] = await alice.ok('GET', `${of(roomId)}/state`)
    expect(state.filter(({ type }) => type === 'org.example')).toHaveLength(3)
  })

  it('that is set to what it is makes no event', async () => {
    const roomId = await alice.createRoom()
    const set = (topic: string) => alice.ok('PUT', `${of(roomId)}/state/m.room.topic`, { topic })
    const first = await set('same')
    expect(await set('same')).toEqual(first)
    const second = await set('other')
    const event = await alice.ok('GET', `${of(roomId)}/event/${encodeURIComponent(second.event_id)}`)
    expect(event.unsigned).toMatchObject({
      replaces_state: first.event_id,
      prev_content: { topic: 'same' },
      prev_sender: alice.userId,
    })
  })

  it('is refused to who may set it no more, also where it is what they have set', async () => {
    const roomId = await alice.createRoom({
      preset: 'public_chat',
      power_level_content_override: { events: { 'org.example': 0 } },
    })
    await bob.join(roomId)
    const set = () => bob.put(`${of(roomId)}/state/org.example`, { value: 1 })
    expect(answerOf(await set())).toBe(200)
    await alice.ok('POST', `${of(roomId)}/ban`, { user_id: bob.userId })
    expect(answerOf(await set())).toBe('403 M_FORBIDDEN')
  })

  it('as it was at their leaving is read by who has left, and nothing by who never was there', async () => {
    const roomId = await alice.createRoom()
    const topic = (topic: string) => alice.ok('PUT', `${of(roomId)}/state/m.room.topic`, { topic })
    await topic('before')
    await bob.join(roomId)
    await bob.ok('POST', `${of(roomId)}/leave`)
    await topic('after')
    expect(await bob.ok('GET', `${of(roomId)}/state/m.room.topic`)).toEqual({ topic: 'before' })
    const state: ClientEvent[] = await bob.ok('GET', `${of(roomId)}/state`)
    expect(state.find((event) => event.state_key === bob.userId)?.content.membership).toBe('leave')
    const carol = await homeserver.user()
    expect(answerOf(await carol.get(`${of(roomId)}/state`))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await carol.get(`${of(roomId)}/state/m.room.topic`))).toBe('403 M_FORBIDDEN')
  })

  it('of a room that everybody may read is read by everybody', async () => {
    const content = { history_visibility: 'world_readable' }
    const roomId = await alice.createRoom({ initial_state: [{ type: 'm.room.history_visibility', content }] })
    expect(await bob.ok('GET', `${of(roomId)}/state/m.room.history_visibility`)).toEqual(content)
    await alice.say(roomId, 'to everybody')
    expect(bodies((await bob.ok('GET', `${of(roomId)}/messages?dir=b&limit=1`)).chunk)).toEqual(['to everybody'])
  })

  it('is refused without the level, and for what makes the room', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    expect(answerOf(await bob.put(`${of(roomId)}/state/m.room.topic`, { topic: 'x' }))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await alice.put(`${of(roomId)}/state/m.room.create`, {}))).toBe('403 M_FORBIDDEN')
    expect(answerOf(await alice.put(`${of(roomId)}/state/org.x`, '{"a":-0}'))).toBe('400 M_BAD_JSON')
    expect(answerOf(await alice.put(`${of(roomId)}/state/org.x/@bob:hearth.test`, {}))).toBe('403 M_FORBIDDEN')
  })

  it('m.room.canonical_alias names aliases of the room only', async () => {
    const roomId = await alice.createRoom({ room_alias_name: 'main' })
    const other = await alice.createRoom({ room_alias_name: 'of-another' })
    const set = async (content: object) =>
      answerOf(await alice.put(`${of(roomId)}/state/m.room.canonical_alias`, content))
    expect(await set({ alias: '#of-another:hearth.test' })).toBe('400 M_BAD_ALIAS')
    expect(await set({ alias: '#none:hearth.test' })).toBe('400 M_BAD_ALIAS')
    expect(await set({ alias: '#main:hearth.test', alt_aliases: ['what'] })).toBe('400 M_INVALID_PARAM')
    expect(await set({ alias: 1 })).toBe('400 M_BAD_JSON')
    expect(await set({ alt_aliases: ['#main:hearth.test'] })).toBe(200)
    expect(await set({})).toBe(200)
    expect(other).not.toBe(roomId)
  })
})

describe('messages', () => {
  const read = (user: TestUser, roomId: string, query: Record<string, string | number>) =>
    user.ok('GET', `${of(roomId)}/messages?${new URLSearchParams(query as Record<string, string>)}`)

  it('are read in pages, backwards and forwards, until nothing is left', async () => {
    const roomId = await alice.createRoom()
    for (let i = 1; i <= 5; i++) await alice.say(roomId, `${i}`)
    const filter = '{"types":["m.room.message"]}'
    const first = await read(alice, roomId, { dir: 'b', limit: 2, filter })
    expect(bodies(first.chunk)).toEqual(['5', '4'])
    const second = await read(alice, roomId, { dir: 'b', limit: 2, filter, from: first.end })
    expect(second.start).toBe(first.end)
    expect(bodies(second.chunk)).toEqual(['3', '2'])
    const third = await read(alice, roomId, { dir: 'b', limit: 2, filter, from: second.end })
    expect(bodies(third.chunk)).toEqual(['1'])
    expect(third).not.toHaveProperty('end')
    const oldest = await read(alice, roomId, { dir: 'f', limit: 3, filter })
    expect(bodies(oldest.chunk)).toEqual(['1', '2', '3'])
    const newest = await read(alice, roomId, { dir: 'f', limit: 3, filter, from: oldest.end })
    expect(bodies(newest.chunk)).toEqual(['4', '5'])
    const forth = await read(alice, roomId, { dir: 'f', limit: 10, filter, from: second.end })
    expect(bodies(forth.chunk)).toEqual(['2', '3', '4', '5'])
    const between = await read(alice, roomId, { dir: 'b', limit: 10, from: first.end, to: second.end })
    expect(bodies(between.chunk)).toEqual(['3', '2'])
    const all = await read(alice, roomId, { dir: 'f', limit: 100 })
    expect(bodies(all.chunk)).toHaveLength(11)
    expect(all.chunk[0].type).toBe('m.room.create')
    expect(all).not.toHaveProperty('end')
  })

  it('that are exactly a page have no next one', async () => {
    const roomId = await alice.createRoom()
    const { chunk } = await read(alice, roomId, { dir: 'b', limit: 100 })
    expect(await read(alice, roomId, { dir: 'b', limit: chunk.length })).not.toHaveProperty('end')
    expect(await read(alice, roomId, { dir: 'b', limit: chunk.length - 1 })).toHaveProperty('end')
  })

  it('a user may not see are passed over, until the page is filled', async () => {
    const content = { history_visibility: 'joined' }
    const options = { preset: 'public_chat', initial_state: [{ type: 'm.room.history_visibility', content }] }
    const roomId = await alice.createRoom(options)
    await bob.join(roomId)
    await bob.say(roomId, 'seen')
    await bob.ok('POST', `${of(roomId)}/leave`)
    for (let i = 0; i < 30; i++) await alice.say(roomId, 'unseen')
    await bob.join(roomId)
    await bob.say(roomId, 'seen again')
    const filter = '{"types":["m.room.message"]}'
    const { chunk } = await read(bob, roomId, { dir: 'b', limit: 2, filter })
    expect(bodies(chunk)).toEqual(['seen again', 'seen'])
  })

  it('begin, for who has left, at their leaving', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    await bob.ok('POST', `${of(roomId)}/leave`)
    await alice.say(roomId, 'unseen')
    const { chunk } = await read(bob, roomId, { dir: 'b', limit: 1 })
    expect(chunk[0]).toMatchObject({ state_key: bob.userId, content: { membership: 'leave' } })
    const carol = await homeserver.user()
    expect(answerOf(await carol.get(`${of(roomId)}/messages?dir=b`))).toBe('403 M_FORBIDDEN')
  })

  it('come with the members that sent them, lazily loaded', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    await bob.say(roomId, 'from bob')
    const filter = '{"lazy_load_members":true}'
    const { state } = await read(alice, roomId, { dir: 'b', limit: 1, filter })
    expect(state.map((event: ClientEvent) => event.state_key)).toEqual([bob.userId])
  })

  it('of ignored users are left out, their state is not', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const middle = await alice.say(roomId, 'middle')
    for (const body of ['unheard', 'unheard, too']) await bob.say(roomId, body)
    const last = await alice.say(roomId, 'last')
    const ignore = (ignored_users: object) =>
      alice.ok('PUT', `${v3}/user/${alice.userId}/account_data/m.ignored_user_list`, { ignored_users })
    await ignore({ [bob.userId]: {} })
    const { chunk } = await alice.ok('GET', `${of(roomId)}/messages?dir=b&limit=3`)
    expect(bodies(chunk)).toEqual(['last', 'middle', 'm.room.member'])
    expect(chunk[2].sender).toBe(bob.userId)
    const { events_after } = await alice.ok('GET', `${of(roomId)}/context/${encodeURIComponent(middle)}?limit=2`)
    const { events_before } = await alice.ok('GET', `${of(roomId)}/context/${encodeURIComponent(last)}?limit=2`)
    expect([bodies(events_after), bodies(events_before)]).toEqual([['last'], ['middle']])
    await ignore({})
    expect(bodies((await alice.ok('GET', `${of(roomId)}/messages?dir=b&limit=2`)).chunk)).toContain('unheard, too')
  })

  it('continue from a token of sync', async () => {
    const roomId = await alice.createRoom()
    await alice.say(roomId, 'before')
    const { next_batch } = await alice.sync()
    await alice.say(roomId, 'after')
    const page = await read(alice, roomId, { dir: 'b', limit: 1, from: next_batch })
    expect(bodies(page.chunk)).toEqual(['before'])
    expect(page.start).toBe(next_batch)
  })

  it.each([
    ['without a direction', '', '400 M_MISSING_PARAM'],
    ['in an unknown direction', 'dir=x', '400 M_INVALID_PARAM'],
    ['from a token of another server', 'dir=b&from=what', '400 M_INVALID_PARAM'],
    ['with a limit that is no number', 'dir=b&limit=many', '400 M_INVALID_PARAM'],
    ['with a filter that is no JSON', 'dir=b&filter=x', '400 M_INVALID_PARAM'],
    ['with a filter of wrong types', 'dir=b&filter={"types":1}', '400 M_BAD_JSON'],
  ])('are refused %s', async (_sentence, query, answer) => {
    const roomId = await alice.createRoom()
    expect(answerOf(await alice.get(`${of(roomId)}/messages?${query}`))).toBe(answer)
  })
})

describe('context', () => {
  it('is what happened before and after an event, with tokens to go on from', async () => {
    const roomId = await alice.createRoom()
    const ids: string[] = []
    for (let i = 0; i < 7; i++) ids.push(await alice.say(roomId, `${i}`))
    const context = await alice.ok('GET', `${of(roomId)}/context/${encodeURIComponent(ids[3]!)}?limit=4`)
    expect(context.event.event_id).toBe(ids[3])
    expect(bodies(context.events_before)).toEqual(['2', '1'])
    expect(bodies(context.events_after)).toEqual(['4', '5'])
    expect(context.state.map(({ type }: ClientEvent) => type)).toContain('m.room.create')
    const back = await alice.ok('GET', `${of(roomId)}/messages?dir=b&limit=1&from=${context.start}`)
    const forth = await alice.ok('GET', `${of(roomId)}/messages?dir=f&limit=1&from=${context.end}`)
    expect([bodies(back.chunk), bodies(forth.chunk)]).toEqual([['0'], ['6']])
    const alone = await alice.ok('GET', `${of(roomId)}/context/${encodeURIComponent(ids[3]!)}?limit=0`)
    expect([alone.events_before, alone.events_after]).toEqual([[], []])
  })

  it('has of the members only those who sent something, lazily loaded', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const eventId = await alice.say(roomId, 'hello')
    const filter = encodeURIComponent('{"lazy_load_members":true}')
    const path = `${of(roomId)}/context/${encodeURIComponent(eventId)}?limit=0&filter=${filter}`
    const { state } = await alice.ok('GET', path)
    const members = state.filter(({ type }: ClientEvent) => type === 'm.room.member')
    expect(members.map((event: ClientEvent) => event.state_key)).toEqual([alice.userId])
  })

  it('of an event one may not see is not found', async () => {
    const roomId = await alice.createRoom()
    const eventId = encodeURIComponent(await alice.say(roomId, 'secret'))
    for (const path of [`context/${eventId}`, `event/${eventId}`, 'event/what', 'context/what']) {
      expect(answerOf(await bob.get(`${of(roomId)}/${path}`))).toBe('404 M_NOT_FOUND')
    }
  })
})

describe('members', () => {
  it('are chosen by membership, and read as they were', async () => {
    const roomId = await alice.createRoom()
    const { end: before } = await alice.ok('GET', `${of(roomId)}/messages?dir=b&limit=1`)
    await bob.join(roomId)
    const carol = await homeserver.user()
    await alice.ok('POST', `${of(roomId)}/invite`, { user_id: carol.userId })
    const members = async (query: string) =>
      (await alice.ok('GET', `${of(roomId)}/members?${query}`)).chunk
        .map((event: ClientEvent) => event.state_key)
        .sort()
    expect(await members('')).toEqual([alice.userId, bob.userId, carol.userId].sort())
    expect(await members('membership=join')).toEqual([alice.userId, bob.userId])
    expect(await members('not_membership=join')).toEqual([carol.userId])
    expect(await members('membership=ban')).toEqual([])
    expect(await members(`at=${before}`)).toEqual([alice.userId])
    expect(answerOf(await alice.get(`${of(roomId)}/members?membership=friend`))).toBe('400 M_INVALID_PARAM')
    expect(answerOf(await carol.get(`${of(roomId)}/members`))).toBe('403 M_FORBIDDEN')
  })

  it('that are joined are told with their names to who is joined', async () => {
    const roomId = await alice.createRoom()
    await bob.join(roomId)
    const joined = { [alice.userId]: {}, [bob.userId]: {} }
    expect(await alice.ok('GET', `${of(roomId)}/joined_members`)).toEqual({ joined })
    await bob.ok('POST', `${of(roomId)}/leave`)
    expect(answerOf(await bob.get(`${of(roomId)}/joined_members`))).toBe('403 M_FORBIDDEN')
  })
})
