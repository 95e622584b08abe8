/** A hostile server among honest ones: what it sends is its own affair, and that of nobody beside it. */
import { afterEach, describe, expect, it } from '@jest/globals'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { eventually } from '../support/eventually.js'
import { HostilePeer, startWithHostilePeer, type Operation } from '../support/hostile-peer.js'
import { json } from '../support/https-server.js'
import type { Branch } from '../support/laboratory/index.js'

const { hearth, peer, authority, faults } = await startWithHostilePeer({ environment: { RATE_LIMITS: 'on' } })
const [stranger, gone] = [await HostilePeer.start(authority, hearth), await HostilePeer.start(authority, hearth)]
const mia = await hearth.user('mia')
const v3 = '/_matrix/client/v3'

afterEach(() => void peer.honestly())

const messages = async (room: Branch): Promise<string[]> => {
  const { chunk } = await mia.ok('GET', `${v3}/rooms/${encodeURIComponent(room.roomId)}/messages?dir=b&limit=100`)
  return chunk.map(({ event_id }: { event_id: string }) => event_id)
}

const inviteInto = (server: HostilePeer, room: Branch) => {
  const { eventId, event } = room.invite(server.eve, mia.userId)
  return server.invite(room, { eventId, pdu: event.pdu as JsonObject })
}
const invites = async (): Promise<string[]> => Object.keys((await mia.sync()).rooms?.invite ?? {})

describe('a transaction', () => {
  it.each(['1', '6', '11', '12'])(
    'with all that is bad in it does no harm to what is good, in version %s',
    async (version) => {
      const room = await peer.roomWith([mia], { version })
      const other = await peer.roomWith([mia], { version })
      const base = room.attempt(peer.eve, { type: 'm.room.message', content: { body: 'x' } })
      const forged = (changes: Readonly<Record<string, Json | undefined>>) => peer.forged(room, base, changes).pdu
      const bad: readonly Json[] = [
        null,
        [],
        '"text"',
        {},
        { room_id: room.roomId },
        { ...base.event.pdu, signatures: {} } as JsonObject,
        { ...base.event.pdu, hashes: {} } as JsonObject,
        { ...base.event.pdu, content: 'changed' } as JsonObject,
        forged({ room_id: other.roomId }),
        forged({ room_id: '!nowhere:x' }),
        forged({ depth: 2 ** 62 }),
        forged({ content: { n: 0.5 } }),
        forged({ content: { body: 'x'.repeat(70_000) } }),
        forged({ sender: mia.userId }),
        forged({ type: 'x'.repeat(300) }),
        forged({ prev_events: [] }),
        forged({ auth_events: [] }),
        forged({ type: 'm.room.create', state_key: '' }),
        room.attempt(peer.user('nobody'), { type: 'm.room.message', content: {} }).event.pdu as JsonObject,
      ]
      const good = [room.say(peer.eve, 'one'), other.say(peer.eve, 'two'), room.say(peer.eve, 'three')]
      const texts = good.map(({ text }) => text)
      const edus = [
        null,
        {},
        { edu_type: 'm.typing' },
        { edu_type: 'm.typing', content: { room_id: room.roomId, user_id: peer.eve, typing: true } },
        { edu_type: 7, content: [] },
      ]
      const { status, body } = await peer.send(
        [...bad.slice(0, 10), texts[0]!, ...bad.slice(10), ...texts.slice(1)],
        edus,
      )
      expect(status).toBe(200)
      for (const { eventId } of good) expect(body.pdus[eventId]).toEqual({})
      await peer.settled()
      expect(await messages(room)).toEqual(expect.arrayContaining([good[0]!.eventId, good[2]!.eventId]))
      expect(await messages(other)).toContain(good[1]!.eventId)
      const { rooms } = await mia.sync()
      expect(rooms.join[room.roomId].ephemeral.events).toContainEqual({
        type: 'm.typing',
        content: { user_ids: [peer.eve] },
      })
    },
  )

  it('whose first PDU hangs on somebody who does not answer brings the others at once', async () => {
    const [slow, quick] = [await peer.roomWith([mia]), await peer.roomWith([mia])]
    const held: (() => void)[] = []
    for (const operation of ['missing_events', 'event', 'state', 'state_ids'] as const)
      peer.answers(operation, (_honest, _asked, response) => void held.push(() => response.destroy()))
    slow.say(peer.eve, 'never sent')
    const [hanging, said] = [slow.say(peer.eve, 'hangs'), quick.say(peer.eve, 'comes')]
    expect((await peer.send([hanging.text, said.text])).status).toBe(200)
    await eventually('the other is there', async () => (await messages(quick)).includes(said.eventId))
    expect(await messages(slow)).not.toContain(hanging.eventId)
    held.forEach((release) => release())
  })
})

describe('an invite', () => {
  const failures: Readonly<Record<string, (server: HostilePeer, operation: Operation) => unknown>> = {
    ...Object.fromEntries(
      [400, 403, 404, 429, 500, 302].map((status) => [
        `${status}`,
        (server: HostilePeer, operation: Operation) =>
          server.answers(operation, (_honest, _asked, response) =>
            json(response, { errcode: 'M_UNKNOWN_TOKEN', error: 'x' }, status),
          ),
      ]),
    ),
    'no JSON': (server, operation) => server.answers(operation, () => 'nothing'),
    'nothing of its own': (server, operation) =>
      server.answers(operation, (_honest, _asked, response) => void response.destroy()),
  }

  it.each(
    Object.keys(failures).flatMap((how) =>
      (['make_leave', 'send_leave'] as const).map((operation) => [operation, how] as const),
    ),
  )('whose refusal a server answers at %s with %s is gone for its user', async (operation, how) => {
    const room = peer.room()
    expect((await inviteInto(peer, room)).status).toBe(200)
    expect(await invites()).toContain(room.roomId)
    failures[how]!(peer, operation)
    const { status, body } = await mia.post(`${v3}/rooms/${encodeURIComponent(room.roomId)}/leave`, {})
    expect([status, body]).toEqual([200, {}])
    expect(await invites()).not.toContain(room.roomId)
  })

  it('of a server that is gone is refused all the same', async () => {
    const room = gone.room()
    expect((await inviteInto(gone, room)).status).toBe(200)
    await gone.https.close()
    expect((await mia.post(`${v3}/rooms/${encodeURIComponent(room.roomId)}/leave`, {})).status).toBe(200)
    expect(await invites()).not.toContain(room.roomId)
  })

  it('of a server that shares no room with us comes twenty times, and of one that does more often', async () => {
    const statuses = async (server: HostilePeer) => {
      const found: number[] = []
      for (let i = 0; i < 25; i++) found.push((await inviteInto(server, server.room())).status)
      return found
    }
    const ofStranger = await statuses(stranger)
    expect(ofStranger.filter((status) => status === 200).length).toBeLessThan(25)
    expect(new Set(ofStranger.slice(-3))).toEqual(new Set([429]))
    await peer.roomWith([mia])
    expect(new Set(await statuses(peer))).toEqual(new Set([200]))
  })
})

it('made no fault show', () => expect(faults).toEqual([]))
