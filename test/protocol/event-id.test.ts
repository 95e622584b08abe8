import { describe, expect, it } from '@jest/globals'
import { eventIdOf, roomIdOf } from '../../src/protocol/event-id.js'
import { isEventId, isRoomId } from '../../src/protocol/identifiers.js'
import { roomVersionNames, rulesOf } from '../../src/protocol/room-versions.js'
import { minimalEventSigned, redactableEventSigned } from '../fixtures/signed-events.js'

const rules = (version: string) => rulesOf(version)!

describe('the event id', () => {
  it.each([
    ['1', '$0:domain'],
    ['2', '$0:domain'],
    ['3', '$oFAil2fHTGY66j9PIsC3hnc+/6r2SQGxCzd1/FUgtOE'],
    ...['4', '5', '6', '7', '8', '9', '10'].map((version) => [version, '$oFAil2fHTGY66j9PIsC3hnc-_6r2SQGxCzd1_FUgtOE']),
    ['11', '$4Wse3wARkU3vfz3WvvTUUlWan9kETgdNEiY6CTbJGTQ'],
    ['12', '$4Wse3wARkU3vfz3WvvTUUlWan9kETgdNEiY6CTbJGTQ'],
  ])('of the same event in version %s is %s', (version, eventId) => {
    expect(eventIdOf(rules(version), redactableEventSigned)).toBe(eventId)
    expect(isEventId(eventId)).toBe(true)
  })

  it('of an event without one, in a version where the event names itself, is a fault of ours', () => {
    expect(() => eventIdOf(rules('1'), minimalEventSigned)).toThrow(/event_id/)
  })
})

describe('the room id', () => {
  const create = {
    type: 'm.room.create',
    state_key: '',
    sender: '@a:domain',
    content: { room_version: '12' },
    hashes: { sha256: 'x' },
    origin_server_ts: 1,
    depth: 1,
    prev_events: [],
    auth_events: [],
  }

  it('in version 12 is the id of the create event with another sigil', () => {
    const roomId = roomIdOf(rules('12'), create)
    expect(roomId).toBe('!' + eventIdOf(rules('12'), create).slice(1))
    expect(isRoomId(roomId)).toBe(true)
    expect(roomIdOf(rules('12'), create, '$known')).toBe('!known')
  })

  it('of every other event is the one it names', () => {
    for (const version of roomVersionNames) {
      expect(roomIdOf(rules(version), minimalEventSigned)).toBe('!x:domain')
      expect(roomIdOf(rules(version), { ...create, room_id: '!y:domain' })).toBe('!y:domain')
    }
  })

  it('is missing only through a fault of ours', () => {
    expect(() => roomIdOf(rules('12'), { ...create, type: 'm.room.name' })).toThrow(/room_id/)
    expect(() => roomIdOf(rules('11'), create)).toThrow(/room_id/)
  })
})
