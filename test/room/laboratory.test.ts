import { describe, expect, it } from '@jest/globals'
import { contentHashMatches } from '../../src/protocol/hashes.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { checkPduFormat } from '../../src/protocol/pdu.js'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import { verifyEventSignature } from '../../src/protocol/signing.js'
import { allow } from '../../src/protocol/verdict.js'
import { alice, bob, carol, type LabEvent, labRoom, serverOf } from '../support/laboratory/index.js'
import { network, ScriptedServer } from '../support/laboratory/scripted-server.js'

const signal = new AbortController().signal
const idsOf = (events: readonly LabEvent[]) => events.map(({ eventId }) => eventId)

describe.each(roomVersionNames)('a laboratory room of version %s', (version) => {
  it('is made of PDUs that a server accepts', () => {
    const room = labRoom({ version, members: [bob, carol] })
    room.redact(alice, room.say(carol, 'a secret'))
    for (const { event, text } of room.events) {
      const pdu = JSON.parse(text) as JsonObject
      const { name, key } = serverOf(event.sender)
      expect(checkPduFormat(room.rules, pdu)).toEqual(allow)
      expect(contentHashMatches(room.rules, pdu)).toBe(true)
      expect(verifyEventSignature(room.rules, pdu, name, key.keyId, key.publicKey)).toBe(true)
      expect(event.roomId).toBe(room.roomId)
    }
  })

  it('forks, and merges what was forked', () => {
    const room = labRoom({ version, levels: { state_default: 0 }, members: [bob, carol] })
    const [left, right] = room.fork()
    const [one, two] = [left!.topic(alice, 'left'), right!.say(carol, 'right')]
    const merged = room.merge(left!, right!).say(bob, 'both')
    expect(merged.event.prevEvents.toSorted()).toEqual(idsOf([one, two]).sort())
    expect(room.stateEvent('m.room.topic')).toBe(one)
    expect(room.judged.extremities()).toEqual([merged])
  })

  it('makes events that the rules refuse only when asked to', () => {
    const room = labRoom({ version, members: [bob] })
    expect(() => room.topic(bob, 'mine')).toThrow('below the level')
    const { tips } = room
    const refused = room.attempt(bob, { type: 'm.room.topic', stateKey: '', pdu: { depth: 77 } })
    expect(refused).toMatchObject({ verdict: { allowed: false }, event: { depth: 77 } })
    expect(room.tips).toBe(tips)
  })
})

describe('a restricted join in the laboratory', () => {
  it('is signed by the server of the member who lets it in, too', () => {
    const room = labRoom({ joinRules: { join_rule: 'restricted', allow: [] } })
    const { event } = room.join(carol, { join_authorised_via_users_server: alice })
    expect(Object.keys(event.pdu.signatures as JsonObject).sort()).toEqual(['one.example', 'two.example'])
  })
})

describe('a scripted server', () => {
  const room = labRoom({ members: [carol] })
  const said = ['one', 'two', 'three'].map((body) => room.say(carol, body))
  const peer = () => new ScriptedServer('two.example', room.judged)
  const gap = (limit: number) => ({
    earliest: idsOf([room.events[4]!]),
    latest: idsOf([said[2]!]),
    limit,
    minDepth: 0,
  })

  it('answers from the events of the room', async () => {
    const [one, two] = said
    expect(await peer().event('two.example', one!.eventId, signal)).toBe(one!.text)
    expect(await peer().missingEvents('two.example', room.roomId, gap(10), signal)).toEqual([two!.text, one!.text])
    expect(await peer().missingEvents('two.example', room.roomId, gap(1), signal)).toEqual([two!.text])
    const backfilled = await peer().backfill('two.example', room.roomId, [two!.eventId], 2, signal)
    expect(backfilled).toEqual([two!.text, one!.text])
    const { stateIds, authChainIds } = await peer().stateIds('two.example', room.roomId, one!.eventId, signal)
    expect(new Set(stateIds)).toEqual(new Set(one!.stateBefore.values()))
    expect(authChainIds).toContain(room.events[0]!.eventId)
  })

  it('leaves out, fails, lies, and waits until it is told', async () => {
    const [one] = said
    const liar = peer().omit(one!).fails('backfill')
    expect(await liar.event('two.example', one!.eventId, signal)).toBeUndefined()
    await expect(liar.backfill('two.example', room.roomId, [], 1, signal)).rejects.toThrow('does not answer')
    liar.answers('event', () => 'not JSON')
    const release = liar.holds('event')
    const answer = liar.event('two.example', one!.eventId, signal)
    release()
    expect(await answer).toBe('not JSON')
    expect(liar.asked('event')).toHaveLength(2)
  })

  it('stops waiting when who asked gives up', async () => {
    const slow = peer()
    slow.holds('event')
    const controller = new AbortController()
    const answer = network(slow).event('two.example', said[0]!.eventId, controller.signal)
    controller.abort()
    await expect(answer).rejects.toThrow('abort')
  })
})
