/**
 * Rooms as files (test/fixtures/rooms): the PDUs of a room as they travel, a sentence on what happens, and what must come
 * of it on every server, in whatever order the PDUs arrive. `writeRoomFile` makes one of a laboratory room.
 */
import { readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { canonicalJson } from '../../../src/protocol/canonical-json.js'
import { numbersOf } from '../../../src/protocol/hashes.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import { roomEventOf } from '../../../src/protocol/pdu.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import { rulesOf } from '../../../src/protocol/room-versions.js'
import { JudgedRoom, keyOf } from './judged-room.js'
import type { Branch } from './lab-room.js'

export interface RoomFile {
  readonly description: string
  readonly room_version: string
  /** Events that are not to be had, and the state after them that peers tell: event ids. */
  readonly told: Readonly<Record<string, readonly string[]>>
  /** Parents first. */
  readonly pdus: readonly JsonObject[]
  /** The state that must come out: type, state key, event id; sorted. */
  readonly state: readonly (readonly [type: string, stateKey: string, eventId: string])[]
  readonly forward_extremities: readonly string[]
  /** Event ids; all others are accepted, or soft-failed by servers that hear of them late. */
  readonly rejected: readonly string[]
  /** Event ids whose content must be gone. */
  readonly redacted: readonly string[]
}

const folder = join(import.meta.dirname, '../../fixtures/rooms')

export const roomFileNames = (): readonly string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.json'))
    .map((name) => name.slice(0, -5))

export const readRoomFile = (name: string): RoomFile =>
  JSON.parse(readFileSync(join(folder, `${name}.json`), 'utf8')) as RoomFile

export function roomFileOf(description: string, room: Branch, redacted: readonly string[] = []): RoomFile {
  const { judged } = room
  const extremities = judged.extremities().map(({ eventId }) => eventId)
  return {
    description,
    room_version: room.rules.version,
    state: [...judged.stateAfter(extremities)]
      .map(([key, eventId]) => [...(JSON.parse(key) as [string, string]), eventId] as const)
      .sort(([a, b], [c, d]) => (`${a} ${b}` < `${c} ${d}` ? -1 : 1)),
    forward_extremities: extremities.sort(),
    rejected: judged.all.filter(({ verdict }) => !verdict.allowed).map(({ eventId }) => eventId),
    redacted,
    told: Object.fromEntries([...judged.lostEvents].map(([eventId, state]) => [eventId, [...state.values()].sort()])),
    pdus: judged.all.map(({ text }) => JSON.parse(text) as JsonObject),
  }
}

export const writeRoomFile = (name: string, file: RoomFile): void =>
  writeFileSync(join(folder, `${name}.json`), formatted(file))

/** A PDU a line: files are compared line by line. */
function formatted({ pdus, state, ...rest }: RoomFile): string {
  const lines = (items: readonly unknown[]) =>
    `[\n    ${items.map((item) => JSON.stringify(item)).join(',\n    ')}\n  ]`
  const head = JSON.stringify(rest, undefined, 2).slice(0, -2)
  return `${head},\n  "state": ${lines(state)},\n  "pdus": ${lines(pdus)}\n}\n`
}

export interface FiledEvent {
  readonly event: RoomEvent
  readonly text: string
}

/** The events of a file, parents first. */
export function eventsOf(file: Pick<RoomFile, 'room_version' | 'pdus'>): FiledEvent[] {
  const rules = rulesOf(file.room_version)!
  return file.pdus.map((pdu) => ({ event: roomEventOf(rules, pdu), text: canonicalJson(pdu, numbersOf(rules)) }))
}

/** The room of a file as the naive resolver sees it. */
export function judgedRoomOf(file: Pick<RoomFile, 'room_version' | 'pdus' | 'told'>): JudgedRoom {
  const room = new JudgedRoom(rulesOf(file.room_version)!)
  const events = eventsOf(file)
  const keys = new Map(events.map(({ event }) => [event.eventId, keyOf(event.type, event.stateKey ?? '')]))
  for (const [lost, state] of Object.entries(file.told)) {
    room.lose(lost, new Map(state.map((eventId) => [keys.get(eventId)!, eventId])))
  }
  for (const { event, text } of events) room.add(event, text)
  return room
}
