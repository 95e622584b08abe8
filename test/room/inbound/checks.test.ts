import { describe, expect, it } from '@jest/globals'
import { hash } from 'node:crypto'
import { encodeBase64 } from '../../../src/protocol/base64.js'
import { canonicalJson } from '../../../src/protocol/canonical-json.js'
import type { Json, JsonObject } from '../../../src/protocol/json.js'
import { roomVersionNames } from '../../../src/protocol/room-versions.js'
import { signEvent, signingKeyFromSeed } from '../../../src/protocol/signing.js'
import { Asking, budgetOf } from '../../../src/room/inbound/asking.js'
import { Counters } from '../../../src/room/inbound/counters.js'
import type { InboundDeps } from '../../../src/room/inbound/inbound-deps.js'
import { inOrder } from '../../../src/room/inbound/in-order.js'
import { keysOfBatch } from '../../../src/room/inbound/keys-of-batch.js'
import { NotNow } from '../../../src/room/inbound/not-now.js'
import type { VerifyKey } from '../../../src/room/inbound/peers.js'
import { isDropped } from '../../../src/room/inbound/read-pdu.js'
import { checkPdu, readSignedPdu } from '../../../src/room/inbound/receive-pdu.js'
import { alice, bob, carol, labRoom, labServer, type Branch, type LabEvent } from '../../support/laboratory/index.js'
import { network, ScriptedServer } from '../../support/laboratory/scripted-server.js'

const limits = { timeout: 1_000, atOnce: 8 }

/** Checks 1 to 3, with the keys that every server of the laboratory has. */
async function check(room: Branch, text: string, keys?: (server: string) => Map<string, VerifyKey>) {
  const counters = new Counters()
  const pdu = readSignedPdu(room.rules, room.roomId, text)
  if (isDropped(pdu)) return { ...pdu, counters }
  const peer = new ScriptedServer('one.example', room.judged)
  if (keys !== undefined) peer.answers('keys', (server) => keys(server))
  const peers = { ...network(peer), keys: peer.keys.bind(peer) }
  const asking = new Asking(peers, limits, new AbortController().signal)
  const result = await checkPdu({ counters } as InboundDeps, room.rules, pdu, keysOfBatch(asking, room.rules, [pdu]))
  return { ...result, counters }
}

const parsed = ({ text }: LabEvent) => JSON.parse(text) as Record<string, Json>
const write = (pdu: unknown) => JSON.stringify(pdu)
const keysOf = (name: string, validUntil = Number.MAX_SAFE_INTEGER) => {
  const { key } = labServer(name)
  return new Map([[key.keyId, { key: key.publicKey, validUntil }]])
}

describe('checks 1 to 3', () => {
  it.each(roomVersionNames)('let an event of room version %s pass, with its id', async (version) => {
    const room = labRoom({ version, members: [bob] })
    const said = room.say(bob, 'hello')
    expect(await check(room, said.text)).toMatchObject({ event: { eventId: said.eventId }, text: said.text })
  })

  it('keep a PDU as it was signed, without what came as unsigned', async () => {
    const room = labRoom()
    const said = room.say(alice, 'hello')
    const text = write({ ...parsed(said), unsigned: { age: 5 } })
    expect(await check(room, text)).toMatchObject({ text: said.text })
  })

  it('store what remains of an event whose content was changed, under the same id', async () => {
    const room = labRoom()
    const said = room.say(alice, 'hello')
    const result = await check(room, write({ ...parsed(said), content: { body: 'bye' } }))
    expect(result).toMatchObject({ event: { eventId: said.eventId, content: {} }, counters: { redacted: 1 } })
  })

  it.each<[string, string, (room: Branch, pdu: Record<string, Json>) => unknown]>([
    ['no JSON', 'format', () => '{'],
    ['no object', 'format', () => '[]'],
    ['a float', 'format', (_, pdu) => write(pdu).replace('"depth":', '"more":1.0,"depth":')],
    [
      'an integer beyond 2^53',
      'format',
      (_, pdu) => write(pdu).replace('"depth":', '"more":9007199254740993,"depth":'),
    ],
    ['a key twice', 'format', (_, pdu) => write(pdu).replace('"depth":', '"depth":1,"depth":')],
    ['half a surrogate pair', 'format', (_, pdu) => write({ ...pdu, more: '\ud800' })],
    ['a depth that is none', 'format', (_, pdu) => write({ ...pdu, depth: -1 })],
    ['no content', 'format', (_, { content: _content, ...pdu }) => write(pdu)],
    ['no signatures', 'format', (_, { signatures: _signatures, ...pdu }) => write(pdu)],
    [
      'too many prev events',
      'format',
      (_, pdu) => write({ ...pdu, prev_events: Array(21).fill(`$${'a'.repeat(43)}`) }),
    ],
    ['more than 65,536 bytes', 'format', (_, pdu) => write({ ...pdu, more: 'x'.repeat(65_536) })],
    ['megabytes', 'format', (_, pdu) => write({ ...pdu, more: 'x'.repeat(1_000_000) })],
    ['another room', 'other room', (_, pdu) => write({ ...pdu, room_id: '!elsewhere:one.example' })],
    ['no signature of its sender', 'signature', (_, pdu) => write({ ...pdu, signatures: {} })],
    ['the sender changed', 'signature', (_, pdu) => write({ ...pdu, sender: bob })],
    ['an essential field changed', 'signature', (_, pdu) => write({ ...pdu, depth: 77 })],
    ['a dozen signatures of one server', 'signature', (_, pdu) => write({ ...pdu, signatures: dozen(pdu) })],
  ])('drop %s', async (_sentence, reason, made) => {
    const room = labRoom()
    const text = made(room, parsed(room.say(alice, 'hello'))) as string
    expect(await check(room, text)).toMatchObject({ dropped: reason })
  })

  const dozen = (pdu: Record<string, Json>) => {
    const [signature] = Object.values((pdu.signatures as Record<string, JsonObject>)['one.example']!)
    return { 'one.example': Object.fromEntries(Array.from({ length: 12 }, (_, i) => [`ed25519:${i}`, signature])) }
  }

  it('drop an event that names itself, which versions 1 and 2 make possible', async () => {
    const room = labRoom({ version: '1' })
    const pdu = parsed(room.say(alice, 'hello'))
    const reference = [pdu.event_id, { sha256: encodeBase64(hash('sha256', 'x', 'buffer')) }]
    expect(await check(room, write({ ...pdu, prev_events: [reference] }))).toMatchObject({ dropped: 'cycle' })
  })

  it('need the signature of the server of the event id, in versions 1 and 2', async () => {
    const room = labRoom({ version: '2', members: [carol] })
    const event = room.attempt(alice, { type: 'm.room.message', pdu: { event_id: '$forged:two.example' } })
    expect(await check(room, event.text)).toMatchObject({ dropped: 'signature' })
    const { name, key } = labServer('two.example')
    const both = canonicalJson(signEvent(room.rules, event.event.pdu, name, key), 'any')
    expect(await check(room, both)).toMatchObject({ event: { eventId: '$forged:two.example' } })
  })

  it('need the signature of the server that let a restricted join in', async () => {
    const room = labRoom({ version: '10', joinRules: { join_rule: 'restricted', allow: [] } })
    const content = { membership: 'join', join_authorised_via_users_server: alice }
    const draft = { type: 'm.room.member', stateKey: carol, content }
    expect(await check(room, room.attempt(carol, draft).text)).toMatchObject({ event: { sender: carol } })
    const alone = room.attempt(carol, { ...draft, signedBy: [labServer('two.example')] })
    expect(await check(room, alone.text)).toMatchObject({ dropped: 'signature' })
  })

  it('count a key from version 5 on only as long as it was valid', async () => {
    for (const [version, passes] of [
      ['4', true],
      ['5', false],
      ['11', false],
    ] as const) {
      const room = labRoom({ version })
      const said = room.say(alice, 'hello')
      const late = await check(room, said.text, (server) => keysOf(server, said.event.originServerTs - 1))
      expect({ version, passes: !('dropped' in late) }).toEqual({ version, passes })
      const inTime = await check(room, said.text, (server) => keysOf(server, said.event.originServerTs))
      expect(inTime).not.toHaveProperty('dropped')
    }
  })

  it('pass over signatures of keys nobody knows, and need all the others to be right', async () => {
    const room = labRoom()
    const { pdu } = room.say(alice, 'hello').event
    const other = signingKeyFromSeed('other', new Uint8Array(32).fill(9))
    const signed = canonicalJson(signEvent(room.rules, pdu, 'one.example', other))
    expect(await check(room, signed)).not.toHaveProperty('dropped')
    const known = { key: labServer('two.example').key.publicKey, validUntil: Number.MAX_SAFE_INTEGER }
    const wrong = await check(room, signed, (server) => keysOf(server).set('ed25519:other', known))
    expect(wrong).toMatchObject({ dropped: 'signature' })
  })

  it('are no verdict when keys cannot be had', async () => {
    const room = labRoom()
    const keys = () => {
      throw new Error('no answer')
    }
    await expect(check(room, room.say(alice, 'hello').text, keys)).rejects.toBeInstanceOf(NotNow)
  })
})

describe('order', () => {
  const order = (edges: Record<string, string[]>) =>
    inOrder(
      Object.keys(edges),
      (id) => id,
      (id) => edges[id]!,
    )

  it('is parents before children, and otherwise as it was', () => {
    expect(order({ d: ['b', 'c'], c: ['a'], b: ['a', 'elsewhere'], a: [], z: [] }).ordered).toEqual([
      'a',
      'z',
      'c',
      'b',
      'd',
    ])
  })

  it('tells circles, and what stands on them', () => {
    expect(order({ a: ['b'], b: ['a'], c: ['b'], d: [] })).toEqual({ ordered: ['d'], cyclic: ['a', 'b', 'c'] })
  })

  it('takes a parent that is named twice once', () => {
    expect(order({ b: ['a', 'a'], a: [] }).ordered).toEqual(['a', 'b'])
  })
})

describe('asking', () => {
  const peer = () => new ScriptedServer('one.example', labRoom().judged)
  const ask = (asking: Asking, server: string) =>
    asking.ask(server, (peers, signal) => peers.event(server, '$x', signal))

  it('gives up a server that never answers, and keeps others from waiting for it', async () => {
    const one = peer()
    one.holds('event')
    const asking = new Asking(network(one), { timeout: 50, atOnce: 2 }, new AbortController().signal)
    const results = await Promise.allSettled([1, 2, 3].map(() => ask(asking, 'one.example')))
    expect(results.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    expect(one.requests).toHaveLength(2)
    expect((results[2] as PromiseRejectedResult).reason).toMatchObject({ message: 'one.example has enough to answer' })
  })

  it('waits longer for what was tried in vain, as long as a large state may take', () => {
    const asking = new Asking(network(peer()), { timeout: 10_000, atOnce: 2 }, new AbortController().signal)
    expect([0, 1, 2, 3, 9].map((attempts) => asking.timeoutAfter(attempts))).toEqual([
      10_000, 20_000, 40_000, 80_000, 80_000,
    ])
    expect(budgetOf(3, { pdus: 1, bytes: 1, time: 20_000 }).time).toBe(160_000)
  })

  it('ends with the process, and does not begin after it', async () => {
    const one = peer()
    one.holds('event')
    const closing = new AbortController()
    const asking = new Asking(network(one), { timeout: 60_000, atOnce: 2 }, closing.signal)
    const asked = ask(asking, 'one.example')
    closing.abort()
    await expect(asked).rejects.toBeInstanceOf(NotNow)
    await expect(ask(asking, 'one.example')).rejects.toBeInstanceOf(NotNow)
  })
})
