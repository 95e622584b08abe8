/**
 * Events that name each other. Ids that are hashes cannot; those of room versions 1 and 2 are whatever their server says.
 * None of them may leave a room without an end to go on from, or keep anything else in it waiting.
 */
import { afterAll, describe, expect, it } from '@jest/globals'
import { finishEvent } from '../../../src/protocol/signing.js'
import { testDatabase } from '../../support/postgres.js'
import { held, holdRoom, mia, TestClock, testInbound, tryAgain } from '../../support/inbound.js'
import { alice, bob, labRoom, labServer, type Branch, type LabEvent } from '../../support/laboratory/index.js'
import { network, ScriptedServer } from '../../support/laboratory/scripted-server.js'
import { testRooms } from '../../support/rooms.js'

const database = await testDatabase()
const engine = await testRooms(database)
afterAll(() => engine.close())

let rooms = 0
const reference = (eventId: string) => [eventId, { sha256: 'x' }] as const
const referenceTo = ({ eventId }: LabEvent) => reference(eventId)

async function setting(version: string) {
  const room = labRoom({ version, name: `cycles${++rooms}`, members: [bob, mia] })
  const name = await holdRoom(engine, room)
  const [one, two] = [new ScriptedServer('one.example', room.judged), new ScriptedServer('two.example', room.judged)]
  const clock = new TestClock()
  const inbound = testInbound(database, engine, network(one, two), { clock })
  const tip = room.judged.extremities()
  /** A template of what bob says next. */
  const base = JSON.parse(room.fork()[0]!.say(bob, 'x').text) as Record<string, unknown>
  const { name: server, key } = labServer('one.example')
  const forge = (event_id: string, change: object) =>
    finishEvent(room.rules, { ...base, signatures: {}, event_id, ...change } as never, server, key).text
  /** Of what peers have beside the room. */
  const lies = (texts: ReadonlyMap<string, string>) => {
    for (const peer of [one, two]) {
      peer.answers('event', (_server, eventId) => texts.get(eventId))
      peer.answers('missingEvents', () => [...texts.values()])
      peer.answers('eventAuth', () => [...texts.values()])
    }
  }
  /** Peers say that this is the state before any of them. */
  const stateIds = [...tip[0]!.stateAfter.values()]
  const liesOfState = (texts: ReadonlyMap<string, string>) => {
    for (const peer of [one, two]) {
      peer.answers('event', (_server, eventId) => texts.get(eventId))
      peer.answers('missingEvents', () => [])
      peer.answers('stateIds', () => ({ stateIds, authChainIds: [] }))
    }
  }
  const send = async (...texts: string[]) => {
    await inbound.transaction('one.example', texts)
    await inbound.settled()
  }
  const again = () => tryAgain(inbound, clock)
  /** The room has an end, and goes on from it, for us and for others. */
  const goesOn = async () => {
    const before = await held(database, name)
    expect(before.extremities.length).toBeGreaterThan(0)
    const draft = { type: 'm.room.message', sender: mia, content: { body: 'still here' } }
    const ours = await engine.rooms.send(name, draft)
    const theirs = forge(`$after-${rooms}:one.example`, { prev_events: [reference(ours.event.eventId)], depth: 50 })
    await send(theirs)
    const { fates, staged } = await held(database, name)
    expect(fates.get(`$after-${rooms}:one.example`)).toBe('accepted')
    return { fates, staged }
  }
  const id = (letter: string) => `$circle-${letter}-${rooms}:one.example`
  return {
    room,
    name,
    inbound,
    one,
    two,
    tip,
    forge,
    lies,
    liesOfState,
    send,
    again,
    goesOn,
    id,
    held: () => held(database, name),
  }
}

describe.each(['1', '2'])('events of room version %s that name each other', (version) => {
  it('as prev events, in one transaction, are dropped', async () => {
    const { forge, send, goesOn, id, tip, inbound } = await setting(version)
    const edges = tip.map(referenceTo)
    await send(
      forge(id('a'), { prev_events: [...edges, reference(id('c'))] }),
      forge(id('b'), { prev_events: [reference(id('a'))] }),
      forge(id('c'), { prev_events: [reference(id('b'))] }),
    )
    const { fates, staged } = await goesOn()
    expect(['a', 'b', 'c'].map((letter) => fates.has(id(letter)))).toEqual([false, false, false])
    expect({ staged, dropped: inbound.counters.dropped.cycle }).toEqual({ staged: [], dropped: 3 })
  })

  it('as auth events, in one transaction, are dropped', async () => {
    const { forge, send, goesOn, id, inbound } = await setting(version)
    const member = { type: 'm.room.member', state_key: bob, content: { membership: 'join' } }
    await send(
      forge(id('a'), { ...member, auth_events: [reference(id('b'))] }),
      forge(id('b'), { ...member, auth_events: [reference(id('a'))] }),
    )
    const { fates, staged } = await goesOn()
    expect([fates.has(id('a')), fates.has(id('b')), staged]).toEqual([false, false, []])
    expect(inbound.counters.dropped.cycle).toBe(2)
  })

  it('one as a prev event and the other as an auth event, are dropped', async () => {
    const { forge, send, goesOn, id } = await setting(version)
    await send(
      forge(id('a'), { prev_events: [reference(id('b'))] }),
      forge(id('b'), { auth_events: [reference(id('a'))] }),
    )
    const { fates, staged } = await goesOn()
    expect([fates.has(id('a')), fates.has(id('b')), staged]).toEqual([false, false, []])
  })

  it('in two transactions leave the room an end', async () => {
    const { forge, send, again, goesOn, id, tip, one, two, inbound } = await setting(version)
    for (const peer of [one, two]) peer.answers('missingEvents', () => [])
    await send(forge(id('a'), { prev_events: [...tip.map(referenceTo), reference(id('b'))] }))
    await send(forge(id('b'), { prev_events: [reference(id('a'))] }))
    await again()
    await goesOn()
    expect(inbound.counters.postponed.fault).toBeUndefined()
  })

  it('where the second is what a peer answers, leave the room an end', async () => {
    const { forge, send, again, goesOn, id, tip, lies, inbound } = await setting(version)
    const a = forge(id('a'), { prev_events: [reference(id('b'))] })
    const b = forge(id('b'), { prev_events: [...tip.map(referenceTo), reference(id('a'))] })
    lies(
      new Map([
        [id('a'), a],
        [id('b'), b],
      ]),
    )
    await send(a)
    await again()
    await goesOn()
    expect(inbound.counters.postponed.fault).toBeUndefined()
  })

  it('where only peers have the circle, leave the room an end', async () => {
    const { forge, send, again, goesOn, id, tip, lies, inbound } = await setting(version)
    const b = forge(id('b'), { prev_events: [...tip.map(referenceTo), reference(id('c'))] })
    const c = forge(id('c'), { prev_events: [reference(id('b'))] })
    lies(
      new Map([
        [id('b'), b],
        [id('c'), c],
      ]),
    )
    await send(forge(id('a'), { prev_events: [reference(id('c'))] }))
    await again()
    await goesOn()
    expect(inbound.counters.postponed.fault).toBeUndefined()
  })

  it('where the state between them is what a peer says, leave the room an end', async () => {
    const { forge, send, again, goesOn, held, id, tip, liesOfState, inbound } = await setting(version)
    const b = forge(id('b'), { prev_events: [reference(id('a'))] })
    liesOfState(new Map([[id('b'), b]]))
    await send(forge(id('a'), { prev_events: [...tip.map(referenceTo), reference(id('b'))] }))
    expect((await held()).fates.get(id('a'))).toBe('accepted')
    await send(b)
    await again()
    const { staged } = await goesOn()
    expect({ staged, faults: inbound.counters.postponed.fault }).toEqual({ staged: [], faults: undefined })
  })

  it('do not take an end from the room that holds others together', async () => {
    const { room, name, forge, send, goesOn, held, id, liesOfState } = await setting(version)
    const [left, right] = room.fork() as [Branch, Branch]
    const topic = left.topic(alice, 'kept')
    const b = forge(id('b'), { prev_events: [reference(id('a'))] })
    liesOfState(new Map([[id('b'), b]]))
    await send(topic.text)
    await send(forge(id('a'), { prev_events: [referenceTo(topic), reference(id('b'))] }))
    await send(right.say(bob, 'beside it all').text)
    await send(b)
    const { fates, extremities } = await held()
    expect([fates.get(id('a')), extremities.includes(id('a'))]).toEqual(['accepted', true])
    expect((await engine.rooms.currentState(name, 'm.room.topic', ''))?.event.content).toEqual({ topic: 'kept' })
    await goesOn()
  })

  it('where the circle is longer and comes piece by piece, leave the room an end', async () => {
    const { forge, send, again, goesOn, held, id, tip, liesOfState, inbound } = await setting(version)
    const b = forge(id('b'), { prev_events: [reference(id('c'))] })
    const c = forge(id('c'), { prev_events: [reference(id('a'))] })
    liesOfState(
      new Map([
        [id('b'), b],
        [id('c'), c],
      ]),
    )
    await send(forge(id('a'), { prev_events: [...tip.map(referenceTo), reference(id('b'))] }))
    expect((await held()).fates.get(id('a'))).toBe('accepted')
    await send(c)
    await send(b)
    await again()
    const { staged } = await goesOn()
    expect({ staged, faults: inbound.counters.postponed.fault }).toEqual({ staged: [], faults: undefined })
  })

  it('where auth events of what is sent are a circle that peers have, keep only that waiting', async () => {
    const { forge, send, again, goesOn, id, lies } = await setting(version)
    const member = { type: 'm.room.member', state_key: bob, content: { membership: 'join' } }
    const a = forge(id('a'), { ...member, auth_events: [reference(id('b'))] })
    const b = forge(id('b'), { ...member, auth_events: [reference(id('c'))] })
    const c = forge(id('c'), { ...member, auth_events: [reference(id('a'))] })
    lies(
      new Map([
        [id('a'), a],
        [id('b'), b],
        [id('c'), c],
      ]),
    )
    await send(forge(id('d'), { auth_events: [reference(id('a'))] }))
    await again()
    const { fates, staged } = await goesOn()
    expect(['a', 'b', 'c', 'd'].map((letter) => fates.has(id(letter)))).toEqual([false, false, false, false])
    expect(staged.map(({ reason }) => reason)).toEqual(['3 auth events name each other'])
  })

  it('an event that names itself is dropped', async () => {
    const { forge, send, goesOn, id, tip } = await setting(version)
    await send(
      forge(id('a'), { prev_events: [...tip.map(referenceTo), reference(id('a'))] }),
      forge(id('b'), { auth_events: [reference(id('b'))] }),
    )
    const { fates, staged } = await goesOn()
    expect([fates.has(id('a')), fates.has(id('b')), staged]).toEqual([false, false, []])
  })
})
