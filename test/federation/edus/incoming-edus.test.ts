import { describe, expect, it } from '@jest/globals'
import { IncomingEdus } from '../../../src/federation/edus/incoming-edus.js'
import { silentLogger } from '../../../src/logger.js'
import { isObject, type Json, type JsonObject } from '../../../src/protocol/json.js'
import { Entrances } from '../../../src/room/inbound/entrances.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import { ServerAcls } from '../../../src/room/server-acls.js'
import { WaitingReceipts } from '../../../src/room/waiting-receipts.js'
import { eventually } from '../../support/eventually.js'
import { startTestHomeserver, type TestUser } from '../../support/homeserver.js'
import { holdRoom } from '../../support/inbound.js'
import { carol, dave, erin, labRoom } from '../../support/laboratory/index.js'
import { sharedRoom, type SharedRoom } from '../../support/remote-users.js'

const homeserver = await startTestHomeserver({ environment: { PRESENCE: 'local' } })
const { services } = homeserver
const mia = await homeserver.user('mia')
const two = 'two.example'

const base = { ...services, serverName: services.config.serverName, logger: silentLogger, now: Date.now }
const waiting = new WaitingReceipts(base)
const entrances = new Entrances()
const incoming = (changes: { presences?: undefined } = {}) =>
  new IncomingEdus({
    ...base,
    ...changes,
    entrances,
    receipts: waiting,
    acls: new ServerAcls(services.rooms),
  })

/** What was dropped while a server's EDUs were taken. */
async function take(origin: string, ...edus: readonly JsonObject[]): Promise<object> {
  const receiver = incoming()
  await receiver.take(origin, edus)
  return receiver.counters.dropped
}

/** A room of carol's and dave's server in which mia is. */
const room = (options: { members?: string[] } = {}) =>
  sharedRoom(homeserver, { creator: carol, members: [mia.userId, dave, ...(options.members ?? [])] })

const waitingIn = ({ name }: SharedRoom) =>
  homeserver.database.db.selectFrom('waiting_receipt').selectAll().where('room', '=', name.room).execute()

const ephemeral = async (user: TestUser, { room: { roomId } }: SharedRoom, since?: string) =>
  (await user.sync({ since })).rooms?.join?.[roomId]?.ephemeral?.events ?? []

const typing = ({ room: { roomId } }: SharedRoom, user_id: string, typing = true) => ({
  edu_type: 'm.typing',
  content: { room_id: roomId, user_id, typing },
})

const receipt = (roomId: string, userId: string, eventId: string, data: object = { ts: 1_700_000_000_000 }) =>
  ({
    edu_type: 'm.receipt',
    content: { [roomId]: { 'm.read': { [userId]: { event_ids: [eventId], data } } } },
  }) as JsonObject

const presence = (...push: readonly unknown[]) =>
  ({
    edu_type: 'm.presence',
    content: {
      push: push.map((update) =>
        isObject(update as Json) ? { presence: 'online', last_active_ago: 1, ...(update as object) } : update,
      ),
    },
  }) as unknown as JsonObject
const updateKeys = ['user_id', 'presence', 'last_active_ago', 'status_msg', 'currently_active']

let messages = 0
const toDevice = (sender: string, to: object, changes: object = {}) =>
  ({
    edu_type: 'm.direct_to_device',
    content: { sender, type: 'm.test', message_id: `message${messages++}`, messages: to, ...changes },
  }) as JsonObject

/** Bodies of the messages that came for a device since it asked last. */
async function received(user: TestUser): Promise<unknown[]> {
  const { to_device, next_batch } = await user.sync()
  await user.sync({ since: next_batch })
  return (to_device?.events ?? []).map(({ sender, content }: { sender: string; content: { body: unknown } }) => [
    sender,
    content.body,
  ])
}

const deny = (server: string) => ({
  type: 'm.room.server_acl',
  stateKey: '',
  content: { allow: ['*'], deny: [server] },
})

describe('typing of other servers', () => {
  it('is shown to our users, and its end', async () => {
    const shared = await room()
    expect(await take(two, typing(shared, dave))).toEqual({})
    expect(await ephemeral(mia, shared)).toContainEqual({ type: 'm.typing', content: { user_ids: [dave] } })
    await take(two, typing(shared, dave, false))
    expect(await ephemeral(mia, shared)).not.toContainEqual({ type: 'm.typing', content: { user_ids: [dave] } })
  })

  it('is shown in a room that we were coming into when it was told', async () => {
    const lab = labRoom({ creator: carol, members: [mia.userId, dave] })
    let comeIn!: (shared: Promise<unknown>) => void
    const coming = new Promise((resolve) => (comeIn = resolve))
    const entering = entrances.during(lab.roomId, () => coming)
    const content = { room_id: lab.roomId, user_id: dave, typing: true }
    const taken = take(two, { edu_type: 'm.typing', content })
    const engine = services as unknown as RoomEngine
    comeIn(holdRoom(engine, lab))
    await entering
    expect(await taken).toEqual({})
    expect(services.typing.users((await services.rooms.named(lab.roomId)).room)).toEqual([dave])
  })

  it('does not wait for a room beyond the patience of its transaction', async () => {
    const lab = labRoom({ creator: carol, members: [mia.userId, dave] })
    let comeIn!: () => void
    const entering = entrances.during(lab.roomId, () => new Promise<void>((resolve) => (comeIn = resolve)))
    const receiver = incoming()
    const content = { room_id: lab.roomId, user_id: dave, typing: true }
    await receiver.take(two, [{ edu_type: 'm.typing', content }], AbortSignal.abort())
    expect(receiver.counters.dropped).toEqual({ 'room unknown': 1 })
    comeIn()
    await entering
  })

  it('is not taken of users of another server, of who is not joined, or into a room that denies the server', async () => {
    const shared = await room({ members: [erin] })
    expect(await take(two, typing(shared, erin))).toEqual({ 'other server': 1 })
    expect(await take(two, typing(shared, mia.userId))).toEqual({ 'other server': 1 })
    expect(await take(two, typing(shared, '@nobody:two.example'))).toEqual({ 'not joined': 1 })
    const elsewhere = { ...typing(shared, dave), content: { room_id: '!x:y', user_id: dave, typing: true } }
    expect(await take(two, elsewhere)).toEqual({ 'room unknown': 1 })
    await shared.take(shared.room.event(carol, deny('three.example')))
    expect(await take('three.example', typing(shared, erin))).toEqual({ 'denied by server ACL': 1 })
    expect(services.typing.users(shared.name.room)).toEqual([])
  })
})

describe('receipts of other servers', () => {
  it('are shown to our users, in their threads, and never move backwards', async () => {
    const shared = await room()
    const { room: lab } = shared
    const [first, second] = [lab.say(carol, 'one'), lab.say(carol, 'two')]
    await shared.take(first, second)
    expect(await take(two, receipt(lab.roomId, dave, second.eventId, { ts: 5, thread_id: 'main' }))).toEqual({})
    expect(await take(two, receipt(lab.roomId, dave, first.eventId, { ts: 6, thread_id: 'main' }))).toEqual({
      'no news': 1,
    })
    const content = { [second.eventId]: { 'm.read': { [dave]: { ts: 5, thread_id: 'main' } } } }
    expect(await ephemeral(mia, shared)).toContainEqual({ type: 'm.receipt', content })
  })

  it('are taken of users of the server who are in the room, of events that are here, by public type only', async () => {
    const shared = await room({ members: [erin] })
    const { roomId } = shared.room
    const event = shared.room.say(carol, 'one')
    await shared.take(event)
    expect(await take(two, receipt(roomId, erin, event.eventId))).toEqual({ 'other server': 1 })
    expect(await take(two, receipt(roomId, mia.userId, event.eventId))).toEqual({ 'other server': 1 })
    expect(await take(two, receipt(roomId, '@nobody:two.example', event.eventId))).toEqual({ 'not joined': 1 })
    expect(await take(two, receipt('!x:y', dave, event.eventId))).toEqual({ 'room unknown': 1 })
    expect(await take(two, receipt(roomId, dave, event.eventId, { ts: 1, thread_id: `$${'x'.repeat(43)}` }))).toEqual({
      'no news': 1,
    })
    const { content } = receipt(roomId, dave, event.eventId)
    const secret = JSON.parse(JSON.stringify(content).replace('m.read', 'm.read.private')) as JsonObject
    expect(await take(two, { edu_type: 'm.receipt', content: secret })).toEqual({ format: 1 })
    await shared.take(shared.room.event(carol, deny('three.example')))
    expect(await take('three.example', receipt(roomId, erin, event.eventId))).toEqual({ 'denied by server ACL': 1 })
    const rows = await homeserver.database.db
      .selectFrom('receipt')
      .selectAll()
      .where('room', '=', shared.name.room)
      .execute()
    expect(rows).toEqual([])
  })

  it('that come before their events wait for them, the newest of each thread', async () => {
    const shared = await room()
    const { room: lab } = shared
    const [first, second, third] = [lab.say(carol, 'one'), lab.say(carol, 'two'), lab.say(carol, 'three')]
    const before = await ephemeral(mia, shared)
    const data = { ts: 5, thread_id: 'main' }
    expect(await take(two, receipt(lab.roomId, dave, third.eventId))).toEqual({})
    expect(await take(two, receipt(lab.roomId, dave, first.eventId, data))).toEqual({})
    expect(await take(two, receipt(lab.roomId, dave, second.eventId, data))).toEqual({})
    expect(await ephemeral(mia, shared)).toEqual(before)
    await shared.take(first, second)
    const ofSecond = { type: 'm.receipt', content: { [second.eventId]: { 'm.read': { [dave]: data } } } }
    await eventually('the receipt counts', async () => {
      const shown = await ephemeral(mia, shared)
      return JSON.stringify(shown).includes(JSON.stringify(ofSecond))
    })
    await shared.take(third)
    await eventually('nothing waits', async () => (await waitingIn(shared)).length === 0)
    expect(JSON.stringify(await ephemeral(mia, shared))).toContain(third.eventId)
  })

  it('wait for no more than twenty threads of a user, and for events that nobody looked for', async () => {
    const shared = await room()
    const { room: lab } = shared
    const event = lab.say(carol, 'one')
    await take(two, receipt(lab.roomId, dave, event.eventId))
    for (let i = 0; i < 25; i++) {
      const id = `$${String(i).padStart(43, 'x')}`
      await take(two, receipt(lab.roomId, dave, id, { ts: 1, thread_id: id }))
    }
    const rows = await waitingIn(shared)
    expect(rows).toHaveLength(20)
    expect(rows.map((row) => row.event_id)).toContain(event.eventId)
    const { db } = homeserver.database
    await db.deleteFrom('waiting_receipt').where('room', '=', shared.name.room).execute()
    await shared.take(event)
    const row = { room: shared.name.room, user_id: dave, thread_id: '', event_id: event.eventId, ts: 7, received_ts: 1 }
    await db.insertInto('waiting_receipt').values(row).execute()
    await waiting.takeOverdue()
    expect(JSON.stringify(await ephemeral(mia, shared))).toContain(`{"ts":7}`)
    expect(await waitingIn(shared)).toEqual([])
  })

  it('of one transaction are no more than a transaction may cost', async () => {
    const { room: lab } = await room()
    const users = Object.fromEntries(Array.from({ length: 2_500 }, (_, i) => [`@u${i}:three.example`, {}]))
    const dropped = await take(two, { edu_type: 'm.receipt', content: { [lab.roomId]: { 'm.read': users } } })
    expect(dropped).toEqual({ 'other server': 1_999, 'too much': 1 })
  })
})

describe('messages to devices', () => {
  it('reach a device, or all of a user, once, also when another process takes them again', async () => {
    const message = toDevice(dave, {
      [mia.userId]: { [mia.deviceId]: { body: 'one' }, NOBODY: { body: 'two' } },
      '@nobody:hearth.test': { '*': { body: 'three' } },
      [erin]: { '*': { body: 'four' } },
    })
    expect(await take(two, message, message)).toEqual({ known: 1 })
    expect(await take(two, message)).toEqual({ known: 1 })
    expect(await received(mia)).toEqual([[dave, 'one']])
    expect(await take(two, toDevice(dave, { [mia.userId]: { '*': { body: 'all' } } }))).toEqual({})
    expect(await received(mia)).toEqual([[dave, 'all']])
  })

  it('keep their order', async () => {
    const edus = Array.from({ length: 20 }, (_, body) => toDevice(dave, { [mia.userId]: { '*': { body } } }))
    await take(two, ...edus)
    expect((await received(mia)).map((pair) => (pair as unknown[])[1])).toEqual(edus.map((_, i) => i))
  })

  it('have a sender of the server that sends them', async () => {
    for (const sender of [erin, mia.userId, '@x:two.example:8448', 'dave', '@:two.example.evil']) {
      expect(await take(two, toDevice(sender, { [mia.userId]: { '*': { body: sender } } }))).toEqual({
        'other server': 1,
      })
    }
    expect(await received(mia)).toEqual([])
  })

  it('with the same id of two servers are two', async () => {
    const to = { [mia.userId]: { '*': { body: 'hello' } } }
    await take(two, toDevice(dave, to, { message_id: 'same' }))
    await take('three.example', toDevice(erin, to, { message_id: 'same' }))
    expect(await received(mia)).toEqual([
      [dave, 'hello'],
      [erin, 'hello'],
    ])
  })

  it('are bounded in size, each and all of a transaction', async () => {
    const large = { [mia.userId]: { '*': { body: 'x'.repeat(65_536) } } }
    expect(
      await take(two, toDevice(dave, large), toDevice(dave, { [mia.userId]: { '*': { body: 'small' } } })),
    ).toEqual({ 'too much': 1 })
    expect(await received(mia)).toEqual([[dave, 'small']])
  })
})

describe('presence of other servers', () => {
  const presences = async (since?: string): Promise<Record<string, object>> => {
    const { presence } = await mia.sync({ since, set_presence: 'offline' })
    return Object.fromEntries(
      (presence?.events ?? []).map(({ sender, content }: { sender: string; content: object }) => [sender, content]),
    )
  }
  const shown = (userId: string, content: object) =>
    eventually('it is shown', async () => {
      try {
        expect((await presences())[userId]).toEqual(content)
        return true
      } catch {
        return false
      }
    })

  it('is shown to our users who share a room, as it is said last', async () => {
    await room()
    const said = { presence: 'online', status_msg: 'Making cupcakes', currently_active: true }
    expect(await take(two, presence({ user_id: dave, ...said, last_active_ago: 5_000 }))).toEqual({})
    await shown(dave, { ...said, last_active_ago: expect.any(Number) })
    await take(two, presence({ user_id: dave, presence: 'unavailable', last_active_ago: 400_000, status_msg: null }))
    expect(services.presences!.of(dave)).toMatchObject({ presence: 'unavailable', statusMsg: undefined })
  })

  it('is not taken of users of another server, or of those in no room of ours', async () => {
    await room({ members: [erin] })
    const users = [erin, mia.userId, '@stranger:two.example', dave]
    const updates = users.map((user_id) => ({ user_id, status_msg: `${user_id} is here` }))
    expect(await take(two, presence(...updates))).toEqual({ 'other server': 2, 'not joined': 1 })
    expect(users.map((userId) => services.presences!.of(userId).statusMsg)).toEqual([
      undefined,
      undefined,
      undefined,
      `${dave} is here`,
    ])
    expect(services.presences!.isKnown('@stranger:two.example')).toBe(false)
  })

  it('is bounded in users and in what they say', async () => {
    await room()
    const many = Array.from({ length: 700 }, (_, i) => ({ user_id: `@user${i}:two.example` }))
    expect(await take(two, presence(...many), presence(...many))).toEqual({ 'too much': 400, 'not joined': 1_000 })
    await take(two, presence({ user_id: dave, status_msg: 'x'.repeat(100_000) }))
    expect(services.presences!.of(dave)).toMatchObject({ presence: 'online', statusMsg: undefined })
  })
})

describe('an EDU that is malformed', () => {
  const hostile = [null, 1, 'x', '\0', [], {}, { __proto__: null }, ['x'], { x: {} }, { '\0': { '\0': 1 } }]
  const types = [
    'm.typing',
    'm.receipt',
    'm.presence',
    'm.direct_to_device',
    'm.device_list_update',
    'm.signing_key_update',
  ]

  it('fails alone, whatever is where', async () => {
    const shared = await room()
    const good: readonly JsonObject[] = [
      typing(shared, dave),
      receipt(shared.room.roomId, dave, shared.room.events[0]!.eventId),
      presence({ user_id: dave }),
      toDevice(dave, { [mia.userId]: { '*': { body: 'good' } } }),
      { edu_type: 'm.device_list_update', content: { user_id: dave, device_id: 'D', stream_id: 1, prev_id: [0] } },
      { edu_type: 'm.signing_key_update', content: { user_id: dave, master_key: {}, self_signing_key: {} } },
    ]
    for (const value of hostile) {
      const edus = types.map((edu_type) => ({ edu_type, content: value }) as JsonObject)
      edus.push(presence(value), ...updateKeys.map((key) => presence({ user_id: dave, [key]: value })))
      for (const { edu_type, content } of good) {
        for (const key of Object.keys(content as JsonObject)) {
          edus.push({ edu_type, content: { ...(content as JsonObject), [key]: value } } as JsonObject)
        }
      }
      const last = toDevice(dave, { [mia.userId]: { '*': { body: JSON.stringify(value) } } })
      expect(await take(two, ...edus, { edu_type: value } as JsonObject, {}, last)).not.toHaveProperty('fault')
      expect(await received(mia)).toContainEqual([dave, JSON.stringify(value)])
    }
  })

  it('or of a type that is not known here, or of presence where there is none, is passed over', async () => {
    const receiver = incoming({ presences: undefined })
    await receiver.take(two, [
      { edu_type: 'm.presence', content: { push: [] } },
      { edu_type: '__proto__', content: {} },
    ])
    expect(receiver.counters).toEqual({ received: { ignored: 2 }, dropped: {} })
  })

  it('is dropped beyond a hundred in a transaction', async () => {
    const edus = Array.from({ length: 103 }, () => ({ edu_type: 'm.presence', content: { push: [] } }))
    expect(await take(two, ...edus)).toEqual({ 'too much': 3 })
  })
})
