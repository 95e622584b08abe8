/** Every way to read a room, by everybody who may read some of it: one gate decides about all. */
import { describe, expect, it } from '@jest/globals'
import { startTestHomeserver, type TestUser } from '../support/homeserver.js'

const homeserver = await startTestHomeserver()
const alice = await homeserver.user('alice')
const of = (roomId: string) => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`

const room = (history_visibility: string) =>
  alice.createRoom({
    preset: 'public_chat',
    initial_state: [{ type: 'm.room.history_visibility', content: { history_visibility } }],
  })
const setVisibility = (roomId: string, history_visibility: string) =>
  alice.ok('PUT', `${of(roomId)}/state/m.room.history_visibility`, { history_visibility })

interface Read {
  readonly event: number
  readonly context: number
  readonly messages: boolean | number
  readonly state: number
  readonly stateEvent: number
  readonly members: number
}

/** The answers of all endpoints about an event and the room it is in; `messages`: whether it is among them, or the refusal. */
async function reads(reader: TestUser, roomId: string, eventId: string): Promise<Read> {
  const status = async (path: string) => (await reader.get(`${of(roomId)}${path}`)).status
  const id = encodeURIComponent(eventId)
  const { status: answer, body } = await reader.get(`${of(roomId)}/messages?dir=b&limit=100`)
  return {
    event: await status(`/event/${id}`),
    context: await status(`/context/${id}`),
    messages: answer === 200 ? body.chunk.some((event: { event_id: string }) => event.event_id === eventId) : answer,
    state: await status('/state'),
    stateEvent: await status('/state/m.room.create'),
    members: await status('/members'),
  }
}

const everything: Read = { event: 200, context: 200, messages: true, state: 200, stateEvent: 200, members: 200 }
const onlyTheRoom: Read = { ...everything, event: 404, context: 404, messages: false }
const nothing: Read = { event: 404, context: 404, messages: 403, state: 403, stateEvent: 403, members: 403 }

describe('a message is read by', () => {
  it('nobody who never was in the room, unless everybody may read it', async () => {
    const stranger = await homeserver.user()
    for (const visibility of ['joined', 'invited', 'shared']) {
      const roomId = await room(visibility)
      expect(await reads(stranger, roomId, await alice.say(roomId, 'hello'))).toEqual(nothing)
    }
    const roomId = await room('world_readable')
    expect(await reads(stranger, roomId, await alice.say(roomId, 'hello'))).toEqual(everything)
  })

  it('strangers as far as it was said while everybody might read', async () => {
    const stranger = await homeserver.user()
    const roomId = await room('joined')
    const before = await alice.say(roomId, 'before')
    await setVisibility(roomId, 'world_readable')
    const open = await alice.say(roomId, 'open')
    expect(await reads(stranger, roomId, before)).toEqual(onlyTheRoom)
    expect(await reads(stranger, roomId, open)).toEqual(everything)
    await setVisibility(roomId, 'joined')
    const after = await alice.say(roomId, 'after')
    // What was said to everybody stays said; the room as it is now is closed.
    expect(await reads(stranger, roomId, open)).toEqual({ ...nothing, event: 200, context: 200 })
    expect(await reads(stranger, roomId, after)).toEqual(nothing)
  })

  it.each([
    ['joined', onlyTheRoom],
    ['invited', onlyTheRoom],
    ['shared', everything],
  ])('who joined after it, when history is %s', async (visibility, expected) => {
    const bob = await homeserver.user()
    const roomId = await room(visibility)
    const before = await alice.say(roomId, 'before')
    await bob.join(roomId)
    expect(await reads(bob, roomId, before)).toEqual(expected)
    expect(await reads(bob, roomId, await alice.say(roomId, 'since'))).toEqual(everything)
  })

  it('who was there and has left, been kicked or banned, and nothing that came later', async () => {
    for (const end of ['leave', 'kick', 'ban']) {
      const bob = await homeserver.user()
      const roomId = await room('shared')
      await bob.join(roomId)
      const seen = await alice.say(roomId, 'seen')
      if (end === 'leave') await bob.ok('POST', `${of(roomId)}/leave`)
      else await alice.ok('POST', `${of(roomId)}/${end}`, { user_id: bob.userId })
      const unseen = await alice.say(roomId, 'unseen')
      expect(await reads(bob, roomId, seen)).toEqual(everything)
      expect(await reads(bob, roomId, unseen)).toEqual(onlyTheRoom)
    }
  })

  it('nobody who was only invited, unless history is for the invited', async () => {
    const bob = await homeserver.user()
    const roomId = await room('invited')
    await alice.ok('POST', `${of(roomId)}/invite`, { user_id: bob.userId })
    const said = await alice.say(roomId, 'welcome')
    expect(await reads(bob, roomId, said)).toEqual({ ...nothing, event: 200, context: 200 })
    const shared = await room('shared')
    await alice.ok('POST', `${of(shared)}/invite`, { user_id: bob.userId })
    expect(await reads(bob, shared, await alice.say(shared, 'welcome'))).toEqual(nothing)
  })

  it('nobody who forgot the room, until they come back', async () => {
    const bob = await homeserver.user()
    const roomId = await room('shared')
    await bob.join(roomId)
    const seen = await alice.say(roomId, 'seen')
    await bob.ok('POST', `${of(roomId)}/leave`)
    expect(await reads(bob, roomId, seen)).toEqual(everything)
    await bob.ok('POST', `${of(roomId)}/forget`)
    expect(await reads(bob, roomId, seen)).toEqual(nothing)
    await bob.join(roomId)
    expect(await reads(bob, roomId, seen)).toEqual(everything)
  })
})

describe('the members of a room', () => {
  const members = async (reader: TestUser, roomId: string, query = '') =>
    (await reader.ok('GET', `${of(roomId)}/members?${query}`)).chunk
      .map((event: { state_key: string; content: { membership: string } }) => [
        event.state_key,
        event.content.membership,
      ])
      .sort()

  it('are for who has left those at their leaving, also when they ask for a later place', async () => {
    const [bob, carol] = [await homeserver.user(), await homeserver.user()]
    const roomId = await room('shared')
    await bob.join(roomId)
    await bob.ok('POST', `${of(roomId)}/leave`)
    await carol.join(roomId)
    const { end } = await alice.ok('GET', `${of(roomId)}/messages?dir=f&limit=100`)
    expect(end).toBeUndefined()
    const later = await alice.syncToken()
    const atLeaving = [
      [alice.userId, 'join'],
      [bob.userId, 'leave'],
    ].sort()
    expect(await members(bob, roomId)).toEqual(atLeaving)
    expect(await members(bob, roomId, `at=${later}`)).toEqual(atLeaving)
    expect(await members(bob, roomId, 'not_membership=leave')).toEqual([[alice.userId, 'join']])
    expect(await members(bob, roomId, 'membership=leave')).toEqual([[bob.userId, 'leave']])
  })

  it('at the place before the first event, where a first sync may begin, are nobody', async () => {
    const roomId = await room('shared')
    const { rooms } = await alice.ok('GET', '/_matrix/client/v3/sync?filter={"room":{"timeline":{"limit":100}}}')
    const { prev_batch: first } = rooms.join[roomId].timeline
    expect(await members(alice, roomId, `at=${first}`)).toEqual([])
  })

  it('at a place before one joined are told where history is shared only', async () => {
    for (const visibility of ['joined', 'shared']) {
      const bob = await homeserver.user()
      const roomId = await room(visibility)
      const before = await alice.syncToken()
      await bob.join(roomId)
      const { status } = await bob.get(`${of(roomId)}/members?at=${before}`)
      expect([visibility, status]).toEqual([visibility, visibility === 'shared' ? 200 : 403])
    }
  })
})

describe('a redacted event', () => {
  it('has lost its content wherever it is read, and says by whom', async () => {
    const roomId = await alice.createRoom()
    const eventId = await alice.say(roomId, 'regretted')
    await alice.ok('PUT', `${of(roomId)}/state/m.room.topic`, { topic: 'regretted' })
    const { chunk } = await alice.ok('GET', `${of(roomId)}/messages?dir=b&limit=1`)
    const topicId = chunk[0].event_id
    const before = await alice.sync()
    for (const target of [eventId, topicId])
      await alice.ok('PUT', `${of(roomId)}/redact/${encodeURIComponent(target)}/${target.slice(1, 9)}`, {
        reason: 'oops',
      })
    for (let i = 0; i < 12; i++) await alice.say(roomId, `${i}`)
    const one = await alice.ok('GET', `${of(roomId)}/event/${encodeURIComponent(eventId)}`)
    const context = await alice.ok('GET', `${of(roomId)}/context/${encodeURIComponent(eventId)}`)
    const messages = await alice.ok('GET', `${of(roomId)}/messages?dir=b&limit=100`)
    const state = await alice.ok('GET', `${of(roomId)}/state`)
    const initial = (await alice.sync()).rooms.join[roomId]
    const since = (await alice.sync({ since: before.next_batch, filter: { room: { timeline: { limit: 20 } } } })).rooms
      .join[roomId]
    for (const answer of [one, context, messages, state, initial, since])
      expect(JSON.stringify(answer)).not.toContain('regretted')
    const isTopic = ({ type }: { type: string }) => type === 'm.room.topic'
    for (const event of [one, context.event, state.find(isTopic), initial.state.events.find(isTopic)])
      expect(event.unsigned.redacted_because).toMatchObject({ sender: alice.userId, content: { reason: 'oops' } })
    // Who has seen the event before is told by the redaction.
    const redactions = since.timeline.events.filter(({ type }: { type: string }) => type === 'm.room.redaction')
    expect(redactions.map(({ redacts }: { redacts: string }) => redacts)).toEqual([eventId, topicId])
  })
})

describe('the event closest to a time', () => {
  const closest = (reader: TestUser, roomId: string, ts: number, dir: string) =>
    reader.get(`/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event?ts=${ts}&dir=${dir}`)

  it('is found in either direction, and context is had of it', async () => {
    const roomId = await alice.createRoom()
    const event = await alice.say(roomId, 'hello')
    const { body } = await closest(alice, roomId, Date.now() + 1_000, 'b')
    expect(body).toEqual({ event_id: event, origin_server_ts: expect.any(Number) })
    expect((await closest(alice, roomId, body.origin_server_ts, 'f')).body).toEqual(body)
    expect((await alice.get(`${of(roomId)}/context/${encodeURIComponent(event)}`)).status).toBe(200)
    expect(await closest(alice, roomId, Date.now() + 1_000, 'f')).toMatchObject({
      status: 404,
      body: { errcode: 'M_NOT_FOUND' },
    })
  })

  it('is told to nobody who may not read it', async () => {
    const [stranger, late] = [await homeserver.user(), await homeserver.user()]
    const roomId = await room('joined')
    const before = await alice.say(roomId, 'before')
    const { body } = await closest(alice, roomId, Date.now() + 1_000, 'b')
    expect(body.event_id).toBe(before)
    expect((await closest(stranger, roomId, body.origin_server_ts, 'b')).status).toBe(403)
    await late.join(roomId)
    expect((await closest(late, roomId, body.origin_server_ts, 'b')).body.event_id).not.toBe(before)
  })

  it.each(['ts=now&dir=f', 'ts=1&dir=up', 'dir=f', 'ts=1'])('is not asked for by %s', async (query) => {
    const roomId = await alice.createRoom()
    const path = `/_matrix/client/v1/rooms/${encodeURIComponent(roomId)}/timestamp_to_event?${query}`
    expect((await alice.get(path)).status).toBe(400)
  })
})
