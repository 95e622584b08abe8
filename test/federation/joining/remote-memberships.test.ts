/** Memberships by handshake with a server that answers late, wrongly, or by events that are not known here. */
import { afterAll, afterEach, describe, expect, it, jest } from '@jest/globals'
import type { JsonObject } from '../../../src/protocol/json.js'
import { allow, reject, type Verdict } from '../../../src/protocol/verdict.js'
import { EventsUnknown, HeadMoved } from '../../../src/room/arrival.js'
import { withSignature } from '../../../src/room/inbound/signatures.js'
import { ResolutionTooCostly } from '../../../src/room/resolution/limits.js'
import { eventually } from '../../support/eventually.js'
import { startWithHostilePeer, type Operation } from '../../support/hostile-peer.js'
import { HttpsServer, json, type Script } from '../../support/https-server.js'
import type { Branch } from '../../support/laboratory/index.js'
import type { TestUser } from '../../support/test-user.js'

const { hearth, peer, authority, faults } = await startWithHostilePeer()
const { rooms, memberships } = hearth.services
const v3 = '/_matrix/client/v3'

afterEach(() => {
  jest.restoreAllMocks()
  peer.honestly()
  expect(faults).toEqual([])
})

const join = (user: TestUser, { roomId }: Branch, options?: { readonly signal: AbortSignal }) =>
  user.post(`${v3}/join/${encodeURIComponent(roomId)}?via=${peer.name}`, {}, options)

/** The event is at the peer, and the Hearth hears of it. */
async function invite(room: Branch, user: TestUser): Promise<void> {
  const { eventId, event } = room.invite(peer.eve, user.userId)
  expect(await peer.invite(room, { eventId, pdu: event.pdu as JsonObject })).toMatchObject({ status: 200 })
}

const membership = async ({ roomId }: Branch, { userId }: TestUser) =>
  rooms.membership(await rooms.named(roomId), userId)

/** Nobody of the Hearth can tell who is in the room it names. */
const restricted = { join_rule: 'restricted', allow: [{ type: 'm.room_membership', room_id: '!none:two.example' }] }

/** Its answers wait until they are let go. */
function holdBack(operation: Operation) {
  let letGo = () => {}
  const free = new Promise<void>((resolve) => (letGo = resolve))
  const before = peer.timesAsked(operation)
  peer.answers(operation, (honest, _asked, response) => void free.then(() => json(response, honest)))
  return { asked: () => eventually(`${operation} is asked`, () => peer.timesAsked(operation) > before), letGo }
}

/** What the Hearth is asked now it is asked after connections that were closed before. */
const noticed = (user: TestUser) => user.ok('GET', `${v3}/account/whoami`)

describe('a client that goes away', () => {
  it('has joined where the room has taken the join', async () => {
    const mia = await hearth.user()
    const room = peer.room()
    const gone = new AbortController()
    const { asked, letGo } = holdBack('send_join')
    const joining = join(mia, room, gone)
    await asked()
    gone.abort()
    await expect(joining).rejects.toThrow()
    await noticed(mia)
    letGo()
    const joined = async () => (await mia.ok('GET', `${v3}/joined_rooms`)).joined_rooms.includes(room.roomId)
    await eventually('mia is in the room', joined)
  })

  it('has declined an invite in the room, too', async () => {
    const mia = await hearth.user()
    const room = peer.room()
    await invite(room, mia)
    const gone = new AbortController()
    const { asked, letGo } = holdBack('make_leave')
    const leaving = mia.post(`${v3}/rooms/${encodeURIComponent(room.roomId)}/leave`, {}, gone)
    await asked()
    gone.abort()
    await expect(leaving).rejects.toThrow()
    await noticed(mia)
    const before = peer.timesAsked('send_leave')
    letGo()
    await eventually('the room hears of it', () => peer.timesAsked('send_leave') > before)
  })
})

describe('a join', () => {
  it('asks nobody when another user came in meanwhile', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const room = peer.room({ joinRules: { join_rule: 'invite' } })
    await invite(room, mia)
    // As the Hearth is not in the room, it hears of this one alone.
    await invite(room, max)
    const { asked, letGo } = holdBack('send_join')
    const joining = join(mia, room)
    await asked()
    const second = join(max, room)
    letGo()
    expect([(await joining).status, (await second).status]).toEqual([200, 200])
    expect(peer.timesAsked('make_join')).toBe(2)
  })

  it('of a room that is said to be of another version than it is spoils nothing', async () => {
    const mia = await hearth.user()
    const room = peer.room({ version: '10' })
    peer.answers('make_join', (honest) => ({ ...honest, room_version: '9' }))
    expect((await join(mia, room)).status).toBe(502)
    peer.honestly()
    expect((await join(mia, room)).status).toBe(200)
    expect(await rooms.named(room.roomId)).toMatchObject({ version: '10' })
  })

  it('is not made where a room that is known is said to be of another version', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const room = await peer.roomWith([mia], { version: '10', joinRules: { join_rule: 'public' } })
    await mia.ok('POST', `${v3}/rooms/${encodeURIComponent(room.roomId)}/leave`, {})
    const before = peer.timesAsked('send_join')
    peer.answers('make_join', (honest) => ({ ...honest, room_version: '9' }))
    expect((await join(max, room)).status).toBe(504)
    expect(peer.timesAsked('send_join')).toBe(before)
  })

  it('of the room that replaces another brings the tags of the user with it', async () => {
    const mia = await hearth.user()
    const old = await mia.createRoom()
    const room = peer.room({ create: { predecessor: { room_id: old, event_id: '$tombstone' } } })
    const tags = (roomId: string) => `${v3}/user/${mia.userId}/rooms/${encodeURIComponent(roomId)}/tags`
    await mia.ok('PUT', `${tags(old)}/m.favourite`, { order: 0.5 })
    await mia.ok('PUT', `${v3}/rooms/${encodeURIComponent(old)}/state/m.room.tombstone`, {
      body: 'moved',
      replacement_room: room.roomId,
    })
    expect((await join(mia, room)).status).toBe(200)
    expect(await mia.ok('GET', tags(room.roomId))).toEqual({ tags: { 'm.favourite': { order: 0.5 } } })
  })

  it('is refused in few words, however many the other server makes of it', async () => {
    const mia = await hearth.user()
    const error = '😀'.repeat(10_000)
    peer.answers('make_join', (_honest, _asked, response) => json(response, { errcode: 'M_FORBIDDEN', error }, 403))
    const { status, body } = await join(mia, peer.room())
    expect([status, body.errcode]).toEqual([403, 'M_FORBIDDEN'])
    expect(body.error.length).toBeLessThan(1_000)
  })

  it('may stand on events that have not arrived', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const room = peer.room({ joinRules: restricted })
    room.invite(peer.eve, mia.userId)
    expect((await join(mia, room)).status).toBe(200)
    room.invite(peer.eve, max.userId)
    expect(await join(max, room)).toMatchObject({ status: 200 })
    expect(await membership(room, max)).toBe('join')
  })

  it('is refused when the room as it is known here does not take it', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const room = await peer.roomWith([mia])
    const [closed] = room.fork()
    const { text } = closed!.joinRules(peer.eve, restricted)
    await peer.send([text])
    await peer.settled()
    expect(await join(max, room)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(await membership(room, max)).toBeUndefined()
  })
})

describe('a join among servers that do not answer', () => {
  /** A server that is not this one, and may know the room for all anybody can tell. */
  async function another(script: Script): Promise<{ readonly name: string; readonly server: HttpsServer }> {
    const server = await HttpsServer.listening(authority, ['localhost', '127.0.0.1'])
    server.script = script
    others.push(server)
    return { name: `localhost:${server.port}`, server }
  }
  const others: HttpsServer[] = []
  afterAll(() => Promise.all(others.map((server) => server.close())))

  const joinVia = (user: TestUser, { roomId }: Pick<Branch, 'roomId'>, ...via: readonly string[]) =>
    user.post(`${v3}/join/${encodeURIComponent(roomId)}?${via.map((name) => `via=${name}`).join('&')}`, {})

  it('does not wait for those that another user is waiting for', async () => {
    const [mia, max] = [await hearth.user(), await hearth.user()]
    const silent = await another(() => {})
    const room = peer.room()
    const waiting = joinVia(mia, room, silent.name, peer.name)
    await eventually('it is asked', () => silent.server.asked.length > 0)
    expect((await join(max, room)).status).toBe(200)
    expect(await membership(room, mia)).toBeUndefined()
    const before = peer.timesAsked('send_join')
    silent.server.dropConnections()
    expect((await waiting).status).toBe(200)
    // By way of what max has brought.
    expect(peer.timesAsked('send_join')).toBe(before)
  })

  it('asks those that did not answer a moment ago after the others', async () => {
    const mia = await hearth.user()
    const broken = await another((_asked, response) => void response.end('not JSON'))
    const asked = () => broken.server.asked.filter(({ url }) => url.includes('make_join')).length
    for (let i = 0; i < 2; i++) expect((await joinVia(mia, peer.room(), broken.name, peer.name)).status).toBe(200)
    expect(asked()).toBe(1)
    // Where there is no other it is asked all the same.
    expect((await joinVia(mia, { roomId: `!nowhere:${broken.name}` }, broken.name)).status).toBe(504)
    expect(asked()).toBe(2)
  })

  it('hears how long a server wants to be left alone', async () => {
    const mia = await hearth.user()
    peer.answers('make_join', (_honest, _asked, response) =>
      json(response, { errcode: 'M_LIMIT_EXCEEDED', error: 'slow down', retry_after_ms: 4_321 }, 429),
    )
    expect(await join(mia, peer.room())).toMatchObject({
      status: 429,
      body: { errcode: 'M_LIMIT_EXCEEDED', retry_after_ms: 4_321 },
    })
  })
})

describe('a join that the room here cannot take at the moment', () => {
  it.each<[string, Error, number]>([
    ['because it moves all the time', new HeadMoved('moved'), 503],
    ['because it would cost too much', new ResolutionTooCostly('too much'), 503],
    ['because events are missing', new EventsUnknown('prev', ['$missing']), 502],
  ])('%s is refused as what it is', async (_sentence, reason, status) => {
    const mia = await hearth.user()
    const { receiveAll } = rooms
    jest.spyOn(rooms, 'receiveAll').mockImplementation(async (name, arrivals) => {
      const isJoin = arrivals.some(({ kind }) => kind === 'entrance')
      return isJoin ? [{ status: 'rejected', reason }] : receiveAll.call(rooms, name, arrivals)
    })
    expect(await join(mia, peer.room())).toMatchObject({ status, body: { errcode: 'M_UNKNOWN' } })
  })
})

describe('a knock', () => {
  it.each(['before', 'after'])('does not hide an invite that comes %s the answer to it', async (when) => {
    const mia = await hearth.user()
    const room = peer.room({ joinRules: { join_rule: 'knock' } })
    const { asked, letGo } = holdBack('send_knock')
    const knocking = mia.post(`${v3}/knock/${encodeURIComponent(room.roomId)}?via=${peer.name}`, {})
    await asked()
    if (when === 'before') await invite(room, mia)
    letGo()
    expect((await knocking).status).toBe(200)
    if (when === 'after') await invite(room, mia)
    const { rooms: shown } = await mia.sync()
    expect([Object.keys(shown?.invite ?? {}), Object.keys(shown?.knock ?? {})]).toEqual([[room.roomId], []])
  })
})

describe('an invite that is declined while the other server is slow', () => {
  const decline = (user: TestUser, { roomId }: Branch) =>
    user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/leave`, {})
  const isInvited = async (user: TestUser, { roomId }: Branch) =>
    (await user.sync()).rooms?.invite?.[roomId] !== undefined

  it('is gone at once, and in the room as soon as it can be', async () => {
    const mia = await hearth.user()
    const room = peer.room()
    await invite(room, mia)
    const { letGo } = holdBack('make_leave')
    expect((await decline(mia, room)).status).toBe(200)
    expect(await isInvited(mia, room)).toBe(false)
    const before = peer.timesAsked('send_leave')
    letGo()
    await eventually('the room hears of it', () => peer.timesAsked('send_leave') > before)
  })

  it.each(['did not answer', 'was being asked when the process died'])(
    'is told to a server that %s, later',
    async (happened) => {
      const mia = await hearth.user()
      const room = peer.room()
      await invite(room, mia)
      const untold = () =>
        hearth.database.db.selectFrom('untold_leave').selectAll().where('user_id', '=', mia.userId).execute()
      if (happened === 'did not answer')
        peer.answers('make_leave', (_honest, _asked, response) => json(response, {}, 500))
      else jest.spyOn(memberships as unknown as { tellLeave(): Promise<void> }, 'tellLeave').mockResolvedValue()
      expect((await decline(mia, room)).status).toBe(200)
      await memberships.settled()
      expect(await untold()).toMatchObject([{ servers: [peer.name], attempts: 0 }])
      jest.restoreAllMocks()
      peer.honestly()
      const before = peer.timesAsked('send_leave')
      await memberships.poll()
      await memberships.settled()
      expect(peer.timesAsked('send_leave')).toBe(before)
      await hearth.database.db.updateTable('untold_leave').set({ next_attempt_ts: 0 }).execute()
      await memberships.poll()
      await memberships.settled()
      expect(peer.timesAsked('send_leave')).toBe(before + 1)
      expect(await untold()).toEqual([])
    },
  )

  it('may be made anew: then that one is not declined', async () => {
    const mia = await hearth.user()
    const room = peer.room()
    await invite(room, mia)
    const { letGo } = holdBack('make_leave')
    expect((await decline(mia, room)).status).toBe(200)
    const before = peer.timesAsked('send_leave')
    room.kick(peer.eve, mia.userId)
    await invite(room, mia)
    letGo()
    await hearth.services.memberships.settled()
    expect(peer.timesAsked('send_leave')).toBe(before)
    expect(await isInvited(mia, room)).toBe(true)
  })
})

describe('an invite into a room with a policy server', () => {
  const policy = { name: 'policy.example', key: new Uint8Array(32) }
  const invited = (user: TestUser, roomId: string) =>
    user.post(`${v3}/rooms/${encodeURIComponent(roomId)}/invite`, { user_id: peer.eve })
  const policed = (verdict: Verdict) => {
    jest.spyOn(rooms.policies!, 'of').mockResolvedValue(policy)
    jest.spyOn(rooms.policies!, 'check').mockImplementation(async (_policy, rules, pdu) => ({
      verdict,
      pdu: withSignature(rules, pdu, policy.name, 'ed25519:policy_server', 'c2lnbmF0dXJl'),
    }))
  }

  it('goes to the other server with its signature', async () => {
    const mia = await hearth.user()
    const roomId = await mia.createRoom()
    policed(allow)
    let sent: string | undefined
    peer.answers('invite', (honest, { body }) => {
      sent = body
      return honest
    })
    expect((await invited(mia, roomId)).status).toBe(200)
    expect(JSON.parse(sent!).event.signatures).toMatchObject({
      [policy.name]: { 'ed25519:policy_server': 'c2lnbmF0dXJl' },
      [hearth.name]: expect.anything(),
    })
  })

  it('goes nowhere when it does not allow it', async () => {
    const mia = await hearth.user()
    const roomId = await mia.createRoom()
    policed(reject('no'))
    const before = peer.timesAsked('invite')
    expect(await invited(mia, roomId)).toMatchObject({ status: 403, body: { errcode: 'M_FORBIDDEN' } })
    expect(peer.timesAsked('invite')).toBe(before)
  })
})
