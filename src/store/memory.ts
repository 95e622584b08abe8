/**
 * What this process keeps in memory of the database, bounded together by CACHE_MB. Everything here can be dropped at any
 * time and read again. Sizes are estimates of what an entry costs the heap, in bytes.
 */
import { LRUCache } from 'lru-cache'
import type { EventNumber, RoomNumber, StateKeyNumber } from '../protocol/numbers.js'
import type { AuthEdges } from './auth-chains.js'
import { OneObjectCache } from './one-object-cache.js'
import type { StoredEvent } from './stored-event.js'

export interface Memory {
  /** Of each event one object, which a redaction changes in place. */
  readonly events: OneObjectCache<EventNumber, StoredEvent>
  /** Bodies of state segments. */
  readonly segments: LRUCache<SegmentKey, Uint8Array>
  readonly stateKeys: LRUCache<string, StateKeyNumber>
  /** Of events whose auth chains were walked. */
  readonly authEdges: LRUCache<EventNumber, AuthEdges>
  /** For the ring of recent facts, which bounds itself. */
  readonly ringBytes: number
  /** For the views of syncing users and the heads of rooms, which bound themselves. */
  readonly viewBytes: number
  readonly roomBytes: number
  /** For results of state resolution. */
  readonly resolutionBytes: number
}

export type SegmentKey = number | string

/** A room's number and a segment's in one: as a number, which is small and quick, as long as it is exact. */
export const segmentKey = (room: RoomNumber, segment: number): SegmentKey =>
  room < 2 ** 22 && segment < 2 ** 31 ? room * 2 ** 31 + segment : `${room}:${segment}`

export function createMemory(megabytes: number): Memory {
  const share = (part: number) => Math.floor(megabytes * 1024 * 1024 * part)
  return {
    events: new OneObjectCache({ maxSize: share(0.27), sizeCalculation: sizeOfEvent }),
    segments: new LRUCache({ maxSize: share(0.25), sizeCalculation: (body) => body.byteLength + 200 }),
    stateKeys: new LRUCache({ maxSize: share(0.1), sizeCalculation: (_number, key) => key.length * 2 + 150 }),
    authEdges: new LRUCache({ maxSize: share(0.03), sizeCalculation: ({ authEvents }) => authEvents.length * 8 + 200 }),
    ringBytes: share(0.14),
    viewBytes: share(0.1),
    roomBytes: share(0.1),
    resolutionBytes: share(0.01),
  }
}

/** The text, the parsed PDU (about three times its text) and, once it was sent to somebody, the client format. */
export const sizeOfEvent = (event: StoredEvent): number => event.text.length * 5 + 600
