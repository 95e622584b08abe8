/**
 * Who is right where two servers hold a room differently: all events of both, resolved by the naive resolver of the tests,
 * which shares nothing with Hearth's but the authorisation rules.
 */
import type { JsonObject } from '../../src/protocol/json.js'
import { roomEventOf } from '../../src/protocol/pdu.js'
import type { RoomEvent } from '../../src/protocol/room-event.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { parseExactJson } from '../../src/protocol/strict-json.js'
import { JudgedRoom, type LabEvent } from '../../test/support/laboratory/index.js'
import type { HeldEvent, HeldRoom } from './held-room.js'

/** What each server holds otherwise than the naive resolver says. */
export function judge(held: Readonly<Record<string, HeldRoom>>): string[] {
  const room = judgedRoom(held)
  return Object.entries(held).flatMap(([kind, { events, state, extremities }]) => [
    ...events.flatMap((event) => differencesOf(kind, event, room.find(event.event_id))),
    ...difference(kind, 'the current state', state, idsOf(room.stateAfter(extremities))),
  ])
}

function judgedRoom(held: Readonly<Record<string, HeldRoom>>): JudgedRoom {
  const pdus = wholePdus(Object.values(held))
  const rules = rulesOf(versionOf(pdus.values()))!
  const room = new JudgedRoom(rules)
  const waiting = new Map<string, { event: RoomEvent; text: string }>()
  for (const [eventId, { pdu, text }] of pdus) waiting.set(eventId, { event: roomEventOf(rules, pdu, eventId), text })
  for (let left = Infinity; waiting.size < left;) {
    left = waiting.size
    for (const [eventId, { event, text }] of waiting) {
      if (![...event.prevEvents, ...event.authEvents].every((parent) => room.find(parent) !== undefined)) continue
      room.add(event, text)
      waiting.delete(eventId)
    }
  }
  if (waiting.size > 0) throw new Error(`events that neither server has are missed by ${[...waiting.keys()].join(' ')}`)
  return room
}

interface Pdu {
  readonly pdu: JsonObject
  readonly text: string
}

/** What one server has redacted may be whole at the other. */
function wholePdus(held: readonly HeldRoom[]): Map<string, Pdu> {
  const pdus = new Map<string, Pdu>()
  for (const { event_id, pdu: text } of held.flatMap(({ events }) => events)) {
    const pdu = parseExactJson(text) as JsonObject
    const size = JSON.stringify(pdu['content']).length
    const known = pdus.get(event_id)
    if (known === undefined || size > JSON.stringify(known.pdu['content']).length) pdus.set(event_id, { pdu, text })
  }
  return pdus
}

function versionOf(pdus: Iterable<Pdu>): string {
  for (const { pdu } of pdus) {
    if (pdu['type'] !== 'm.room.create') continue
    const { room_version: version } = pdu['content'] as JsonObject
    return typeof version === 'string' ? version : '1'
  }
  throw new Error('neither server has the m.room.create event')
}

function differencesOf(kind: string, { event_id, fate, reason, after }: HeldEvent, judged?: LabEvent): string[] {
  if (judged === undefined || after === null) return []
  const what = `${judged.event.type} ${event_id}`
  const verdict = judged.verdict.allowed ? undefined : judged.verdict.reason
  if ((fate === 'rejected') !== !judged.verdict.allowed) {
    return [
      `${kind}: ${what} is ${fate} (${reason}), and should be ${verdict === undefined ? 'accepted' : `rejected (${verdict})`}`,
    ]
  }
  return difference(kind, `the state after ${what}`, after, idsOf(judged.stateAfter))
}

const idsOf = (state: ReadonlyMap<string, string>): string[] => [...state.values()].sort()

function difference(kind: string, what: string, is: readonly string[], should: readonly string[]): string[] {
  const [more, less] = [is.filter((id) => !should.includes(id)), should.filter((id) => !is.includes(id))]
  if (more.length + less.length === 0) return []
  return [`${kind}: ${what} has ${more.join(' ') || 'nothing'}, and should have ${less.join(' ') || 'nothing'}`]
}
