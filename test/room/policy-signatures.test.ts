import { afterAll, beforeEach, describe, expect, it } from '@jest/globals'
import type { DeviceNumber } from '../../src/protocol/numbers.js'
import { allow, reject, type Verdict } from '../../src/protocol/verdict.js'
import { NotNow } from '../../src/room/inbound/not-now.js'
import { withSignature } from '../../src/room/inbound/signatures.js'
import type { Draft } from '../../src/room/draft.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import type { Policies, Rooms } from '../../src/room/rooms.js'
import { testDatabase } from '../support/postgres.js'
import { join, say, testRoom, testRooms, user } from '../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())
const { rooms } = engine
const [alice, bob] = [user('alice'), user('bob')]

let verdict: Verdict = allow
let asked: string[] = []
/** While the policy server thinks. */
let meanwhile: () => Promise<unknown>
const policy = { name: 'policy.example', key: new Uint8Array(32) }
const policiesOf = (rooms: Rooms): Policies => ({
  of: async (name) => ((await rooms.currentState(name, 'm.room.policy', '')) === undefined ? undefined : policy),
  check: async (_policy, rules, pdu) => {
    asked.push(pdu.event.type)
    await meanwhile()
    return { verdict, pdu: withSignature(rules, pdu, policy.name, 'ed25519:policy_server', 'c2lnbmF0dXJl') }
  },
})
beforeEach(() => {
  verdict = allow
  asked = []
  meanwhile = async () => undefined
  rooms.policies = policiesOf(rooms)
})

const policed = async (version?: string): Promise<KnownRoom> => {
  const name = (await testRoom(engine, alice, version)) as KnownRoom
  await rooms.send(name, { type: 'm.room.policy', stateKey: '', sender: alice, content: { via: 'policy.example' } })
  return name
}
const transaction = { device: 1 as DeviceNumber, endpoint: 'send', transactionId: 'a' }
const message = (body: string) => ({ type: 'm.room.message', sender: alice, content: { body } })

describe('a room with a policy server', () => {
  it('has our events with its signature, each built on the one before', async () => {
    const name = await policed()
    const first = await rooms.send(name, message('one'))
    const second = await rooms.send(name, message('two'))
    expect(first.event.pdu.signatures).toMatchObject({
      'policy.example': { 'ed25519:policy_server': 'c2lnbmF0dXJl' },
      'hearth.test': expect.anything(),
    })
    expect(second.event.prevEvents).toEqual([first.event.eventId])
    expect(asked).toEqual(['m.room.message', 'm.room.message'])
  })

  it('has none that it refuses', async () => {
    const name = await policed()
    verdict = reject('no')
    const before = (await rooms.head(name)).head.forwardExtremities
    await expect(rooms.send(name, message('spam'))).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    expect((await rooms.head(name)).head.forwardExtremities).toEqual(before)
  })

  it('refuses nothing for good while that has enough to answer', async () => {
    const name = await policed()
    const check = async () => Promise.reject(new NotNow('peers', 'policy.example has enough to answer'))
    rooms.policies = { ...rooms.policies!, check }
    await expect(rooms.send(name, message('later'))).rejects.toMatchObject({ status: 503, errcode: 'M_UNKNOWN' })
  })

  it('gets a message once, however often its client sends it', async () => {
    const name = await policed()
    const first = await rooms.send(name, message('once'), transaction)
    const again = await rooms.send(name, message('once'), transaction)
    expect(again.event.eventId).toBe(first.event.eventId)
    expect(first.sentAs).toEqual({ device: 1, transactionId: 'a' })
    expect(asked.length).toBe(1)
  })

  it('gets a message once that its client sends by two processes at once', async () => {
    const name = await policed()
    const other = await testRooms(database)
    other.rooms.policies = policiesOf(other.rooms)
    const there = (await other.stores.names.find(name.roomId))!
    const waiting: (() => void)[] = []
    meanwhile = () =>
      new Promise<void>((resolve) => {
        if (waiting.push(resolve) === 2) waiting.forEach((goOn) => goOn())
      })
    const [here, too] = await Promise.all([
      rooms.send(name, message('once'), transaction),
      other.rooms.send(there, message('once'), transaction),
    ])
    expect(too.event.eventId).toBe(here.event.eventId)
    await other.close()
  })

  it('does not take what it forbids meanwhile, however often its client sends it', async () => {
    const name = await policed()
    await join(engine, name, bob)
    meanwhile = async () => {
      meanwhile = async () => undefined
      await rooms.changeMembership(name, alice, bob, { membership: 'ban' })
    }
    const send = () => rooms.send(name, { ...message('late'), sender: bob }, transaction)
    await expect(send()).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    await expect(send()).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
  })

  it.each<[string, string, Partial<Draft>, string]>([
    ['whose type is longer than an id', '1', { type: 'é'.repeat(200) }, 'M_TOO_LARGE'],
    ['whose state key is longer than an id', '1', { stateKey: 'é'.repeat(200) }, 'M_TOO_LARGE'],
    ['that is larger than an event', '11', { content: { body: 'x'.repeat(65_536) } }, 'M_TOO_LARGE'],
    ['that has no canonical form', '11', { content: { body: '\ud800' } }, 'M_BAD_JSON'],
  ])('gets nothing %s', async (_sentence, version, draft, errcode) => {
    const name = await policed(version)
    await expect(rooms.send(name, { ...message(''), ...draft })).rejects.toMatchObject({ errcode })
    expect(asked).toEqual([])
  })

  it('gets nothing that is too large with its signature', async () => {
    const name = await policed()
    const left = 65_536 - (await rooms.send(name, message(''))).text.length
    await expect(rooms.send(name, message('x'.repeat(left + 1)))).rejects.toMatchObject({ errcode: 'M_TOO_LARGE' })
    expect((await rooms.send(name, message('x'.repeat(left)))).text).toHaveLength(65_536)
  })

  it('is asked no more when it is none any more', async () => {
    const name = await policed()
    rooms.policies = { ...rooms.policies!, of: async () => undefined }
    await rooms.send(name, message('free'))
    expect(asked).toEqual([])
  })
})

it('refuses a redaction in a state event, too, that its sender has not the level for', async () => {
  const levels = { events: { 'm.room.redaction': 0 }, users: { [alice]: 100 } }
  const name = (await testRoom(engine, alice, '11', [], { levels })) as KnownRoom
  await rooms.send(name, { type: 'm.room.policy', stateKey: '', sender: alice, content: { via: 'policy.example' } })
  await join(engine, name, bob)
  const { eventId: redacts } = (await say(engine, name, alice, 'important')).event
  const redaction = rooms.send(name, { type: 'm.room.redaction', stateKey: '', sender: bob, content: { redacts } })
  await expect(redaction).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
})

describe.each(['1', '2', '3', '11', '12'])('a redaction in a room of version %s with a policy server', (version) => {
  const redact = (name: KnownRoom, sender: string, redacts: string) =>
    rooms.send(name, {
      type: 'm.room.redaction',
      sender,
      content: name.rules.redactsInContent ? { redacts } : {},
      redacts,
    })
  const contentOf = async ({ room }: KnownRoom, eventId: string) =>
    (await engine.stores.events.byId(room, eventId))?.event.content

  it('reaches what its sender said, and what others said only by who has the level for it', async () => {
    const name = await policed(version)
    await join(engine, name, bob)
    const { eventId: ofAlice } = (await say(engine, name, alice, 'important')).event
    const { eventId: ofBob } = (await say(engine, name, bob, 'a slip')).event
    const { eventId: another } = (await say(engine, name, bob, 'rude')).event
    await expect(redact(name, bob, ofAlice)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    expect(await contentOf(name, ofAlice)).toMatchObject({ body: 'important' })
    await redact(name, bob, ofBob)
    await redact(name, alice, another)
    expect([await contentOf(name, ofBob), await contentOf(name, another)]).toEqual([{}, {}])
  })

  it('reaches neither what is not in the room nor what created it', async () => {
    const name = await policed(version)
    const { eventId: elsewhere } = (await say(engine, await policed(version), alice, 'elsewhere')).event
    await expect(redact(name, alice, elsewhere)).rejects.toMatchObject({ errcode: 'M_NOT_FOUND' })
    const { eventId: created } = (await rooms.currentState(name, 'm.room.create', ''))!.event
    await expect(redact(name, alice, created)).rejects.toMatchObject({ errcode: 'M_FORBIDDEN' })
    expect(asked).toEqual(['m.room.message'])
  })
})
