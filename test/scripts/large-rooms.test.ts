import { describe, expect, it } from '@jest/globals'
import { largeRoom, ROOM_EVENTS } from '../../scripts/bench/large-rooms/room.js'
import { authorize, checkAuthEvents } from '../../src/protocol/authorization/index.js'
import type { EventNumber, Position, RoomNumber, StateKeyNumber } from '../../src/protocol/numbers.js'
import { checkPduFormat } from '../../src/protocol/pdu.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { entries, lookUp, run } from '../../src/protocol/state-trie.js'

const MEMBERS = 100
const EVENTS = ROOM_EVENTS + MEMBERS - 1

function made(version: string) {
  const keys = new Map<string, StateKeyNumber>()
  const rules = rulesOf(version)!
  const room = largeRoom({
    room: 7 as RoomNumber,
    version,
    rules,
    serverName: 'example.org',
    identityKey: Buffer.alloc(32, 1),
    name: 'Large',
    topic: 'A room',
    members: Array.from({ length: MEMBERS }, (_, index) => `@member-${index}:example.org`),
    numbers: Array.from({ length: EVENTS }, (_, index) => (1_000 + index) as EventNumber),
    firstPosition: 50 as Position,
    stateKey(type, key) {
      const name = `${type} ${key}`
      if (!keys.has(name)) keys.set(name, (keys.size + 1) as StateKeyNumber)
      return keys.get(name)!
    },
  })
  const [lane] = room.batch.lanes
  const bodies = new Map(lane!.segments.map(({ segment, body }) => [segment, body]))
  const segments = { identityKey: Buffer.alloc(32, 1), get: (segment: number) => bodies.get(segment) }
  return { room, rules, keys, segments, lane: lane!, events: lane!.changes[0]!.events.map(({ stored }) => stored) }
}

describe.each(['11', '12'])('a large room of the bench, version %s', (version) => {
  const { room, rules, keys, segments, lane, events } = made(version)

  it('has all its members in its current state', () => {
    const state = lane.changes[0]!.head.state
    expect(run(entries(segments, state))).toHaveLength(EVENTS)
    for (const event of events) expect(run(lookUp(segments, state, event.stateKey!))).toBe(event.number)
    expect(room.batch.facts.filter(({ kind }) => kind === 'membership')).toHaveLength(MEMBERS)
    expect(keys.size).toBe(EVENTS)
  })

  it('has events that the room version allows', () => {
    const byNumber = new Map(events.map((event) => [event.number, event.event]))
    const created = events[0]!.event
    for (const stored of events) {
      const { event } = stored
      expect(checkPduFormat(rules, event.pdu)).toMatchObject({ allowed: true })
      const authEvents = stored.authEvents.map((number) => byNumber.get(number)!)
      expect(checkAuthEvents(rules, event, authEvents)).toMatchObject({ allowed: true })
      const state = (type: string, key: string) =>
        authEvents.find((one) => one.type === type && one.stateKey === key) ??
        (type === created.type ? created : undefined)
      const verdict = stored === events[0] ? { allowed: true } : authorize(rules, event, state, created)
      expect(verdict).toMatchObject({ allowed: true })
    }
  })
})
