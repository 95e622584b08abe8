/** Events that are met by a limit inside inbound: no verdict, nobody is held up, and with more they are decided. */
import { afterAll, describe, expect, it } from '@jest/globals'
import { hash } from 'node:crypto'
import { encodeBase64 } from '../../../src/protocol/base64.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { signJson } from '../../../src/protocol/signing.js'
import type { RoomEngine } from '../../../src/room/open-rooms.js'
import { defaultLimits } from '../../../src/room/resolution/limits.js'
import { heldLongest } from '../../support/held-longest.js'
import { held, holdRoom, mia, TestClock, testInbound, tryAgain } from '../../support/inbound.js'
import { alice, bob, dave, labRoom, labServer, type Branch } from '../../support/laboratory/index.js'
import { network, ScriptedServer } from '../../support/laboratory/scripted-server.js'
import { testDatabase } from '../../support/postgres.js'
import { testRooms } from '../../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database, { isAlone: true })
afterAll(() => engine.close())
const resolutionLimits = { ...defaultLimits, events: 20 }
const strict = await testDatabase()
const strictEngine = await testRooms(strict, { isAlone: true, resolutionLimits })
afterAll(() => strictEngine.close())

async function inboundOf(room: Branch, at: { database: typeof database; engine: RoomEngine }) {
  const name = await holdRoom(at.engine, room)
  const clock = new TestClock()
  const peers = network(new ScriptedServer('one.example', room.judged))
  const inbound = testInbound(at.database, at.engine, peers, { clock })
  return {
    inbound,
    send: async (...events: readonly { text: string }[]) => {
      await inbound.transaction(
        'one.example',
        events.map(({ text }) => text),
      )
      await inbound.settled()
    },
    again: () => tryAgain(inbound, clock),
    held: () => held(at.database, name),
  }
}

describe('an invite that redeems a third-party invite', () => {
  const identityServer = labServer('identity.example')
  const bytes = (text: string, length: number) => encodeBase64(hash('sha512', text, 'buffer').subarray(0, length))
  const publicKey = (key: string) => ({ public_key: key, key_validity_url: 'https://identity.example/valid' })
  const keys = (count: number) => Array.from({ length: count }, (_, at) => publicKey(bytes(`key ${at}`, 32)))
  const ours = publicKey(encodeBase64(identityServer.key.publicKey))

  /** So many signatures, the last of which is of the identity server. */
  function signedBy(count: number): JsonObject {
    const signed = signJson({ mxid: dave, token: 'token' }, identityServer.name, identityServer.key)
    const others = Array.from({ length: count - 1 }, (_, at) => [`ed25519:${at}`, bytes(`signature ${at}`, 64)])
    return {
      ...signed,
      signatures: { 'a.example': Object.fromEntries(others) as JsonObject, ...(signed.signatures as JsonObject) },
    }
  }

  async function redeemed(signatures: number, publicKeys: readonly JsonObject[]) {
    const room = labRoom({ members: [bob, mia] })
    room.event(alice, {
      type: 'm.room.third_party_invite',
      stateKey: 'token',
      content: { display_name: 'd', public_keys: [...publicKeys] },
    })
    const setting = await inboundOf(room, { database, engine })
    const invite = room.attempt(alice, {
      type: 'm.room.member',
      stateKey: dave,
      content: { membership: 'invite', third_party_invite: { display_name: 'd', signed: signedBy(signatures) } },
    })
    const said = room.fork(1)[0]!.say(bob, 'meanwhile')
    return { ...setting, invite, said }
  }

  it('with more signature checks than an attempt may cost waits, and is taken by the next', async () => {
    const { inbound, send, again, held, invite, said } = await redeemed(40, [...keys(39), ours])
    const loop = heldLongest()
    await send(invite, said)
    const first = await held()
    expect(first.fates.get(said.eventId)).toBe('accepted')
    expect(first.fates.has(invite.eventId)).toBe(false)
    expect(first.staged).toMatchObject([
      { event_id: invite.eventId, attempts: 1, reason: expect.stringContaining('takes 1600 signature checks') },
    ])
    expect(inbound.counters.postponed).toEqual({ resolution: 1 })
    await again()
    const { fates, staged } = await held()
    expect([fates.get(invite.eventId), staged]).toEqual(['accepted', []])
    expect(loop()).toBeLessThan(50)
  })

  it('is rejected only when no signature fits any key', async () => {
    const { send, held, invite } = await redeemed(20, keys(20))
    await send(invite)
    const { events, staged } = await held()
    expect(events.get(invite.eventId)).toMatchObject({
      fate: 2,
      reason: 'third-party invite: no signature fits a key of the invite in the room',
    })
    expect(staged).toEqual([])
  })
})

describe('an event whose state takes a resolution beyond the limit', () => {
  it('waits, and is taken when it is tried again with more', async () => {
    const room = labRoom({ members: [bob, mia] })
    const [left, right] = room.fork()
    const { inbound, send, again, held } = await inboundOf(room, { database: strict, engine: strictEngine })
    const changes = Array.from({ length: 24 }, (_, at) =>
      left!.event(alice, { type: 'org.example.state', stateKey: `${at}`, content: {} }),
    )
    const topic = right!.topic(alice, 'right')
    const said = left!.say(bob, 'meanwhile')
    await send(...changes)
    await send(topic, said)
    const first = await held()
    expect(first.fates.get(said.eventId)).toBe('accepted')
    expect(first.fates.has(topic.eventId)).toBe(false)
    expect(first.staged).toMatchObject([
      { event_id: topic.eventId, attempts: 1, reason: 'a resolution looks at more than 20 events' },
    ])
    expect(inbound.counters.postponed).toEqual({ resolution: 1 })
    await again()
    const { fates, staged, extremities } = await held()
    expect([fates.get(topic.eventId), staged]).toEqual(['accepted', []])
    expect(extremities).toEqual([said.eventId, topic.eventId].sort())
  })
})

describe('events as large as they may be', () => {
  it('of thousands of keys, a transaction full of them, hold nobody up', async () => {
    const room = labRoom({ members: [bob, mia] })
    const { send, held } = await inboundOf(room, { database, engine })
    const content = Object.fromEntries(Array.from({ length: 5_000 }, (_, at) => [`key${at}`, at % 10]))
    const large = Array.from({ length: 12 }, (_, at) =>
      room.event(bob, { type: 'org.example.large', content: { ...content, at } }),
    )
    expect(large[0]!.text.length).toBeGreaterThan(50_000)
    const loop = heldLongest()
    await send(...large)
    expect((await held()).fates.get(large.at(-1)!.eventId)).toBe('accepted')
    expect(loop()).toBeLessThan(50)
  })
})
