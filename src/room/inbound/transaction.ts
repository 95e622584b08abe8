/**
 * What can be said at once of the PDUs of a transaction: whatever needs neither the network nor the room's lane. The
 * rest is staged, and then the transaction is answered.
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
 */
import { LRUCache } from 'lru-cache'
import { ownString } from '../../protocol/json.js'
import { joinedOfServer } from '../../store/memberships.js'
import { isPauseDue, pause } from '../../store/pauses.js'
import { stage, stagedCounts, type StagedPdu } from '../../store/staged-pdus.js'
import type { KnownRoom } from '../known-room.js'
import type { InboundDeps } from './inbound-deps.js'
import type { PduText } from './peers.js'
import { drop, isDropped, parsePdu, readPdu, type Dropped, type Pdu } from './read-pdu.js'
import { lacksSignature } from './signatures.js'
import { isTakenBack } from './taken-back.js'

/** "pdus": by event id, an empty object, or one with an error. A PDU whose id cannot be told has no entry. */
export type PduAnswers = Record<string, { readonly error?: string }>

/** Staged of one room, and of these by one server: what an attacker may fill of our disk and of our time. */
export const MOST_STAGED = { ofRoom: 20_000, ofOrigin: 5_000 }

interface Judged {
  readonly name: KnownRoom
  readonly pdu: Pdu
  readonly text: PduText
}

/** Check 1 and, of check 2, what needs no keys, are behind it. */
export interface ReadPdu {
  readonly row: StagedPdu
  readonly pdu: Pdu
}

export interface Taken {
  readonly pdus: PduAnswers
  /** By room id, what was staged; undefined where some of it was staged before. */
  readonly staged: ReadonlyMap<string, readonly ReadPdu[] | undefined>
}

export class Transactions {
  /** Rooms in which users of ours are known to be joined, for a while. */
  private readonly joined = new LRUCache<number, true>({ max: 10_000, ttl: 60_000 })

  constructor(private readonly deps: InboundDeps) {}

  /** Resolves when what is not decided is staged. */
  async take(origin: string, texts: readonly PduText[], patience: AbortSignal): Promise<Taken> {
    const pdus: PduAnswers = Object.create(null) as PduAnswers
    const judged: Judged[] = []
    for (const text of texts) {
      if (isPauseDue()) await pause()
      const result = await this.judge(origin, text, patience)
      if (result === 'taken back') continue
      if (!isDropped(result)) judged.push(result)
      else this.count(origin, result)
      const eventId = isDropped(result) ? result.eventId : result.pdu.event.eventId
      if (eventId !== undefined) pdus[eventId] = isDropped(result) ? { error: result.why } : {}
    }
    const fresh = await this.unknown(judged)
    const { fitting, refused } = await this.fitting(origin, fresh)
    for (const { pdu } of refused) pdus[pdu.event.eventId] = { error: 'too many events of this room are waiting' }
    this.deps.counters.staged += fitting.length
    return { pdus, staged: await this.stage(origin, fitting) }
  }

  private async stage(origin: string, fitting: readonly Judged[]): Promise<Map<string, ReadPdu[] | undefined>> {
    const pdus = fitting.map(({ name, pdu, text }) => ({ roomId: name.roomId, eventId: pdu.event.eventId, text, pdu }))
    const rows = await stage(this.deps.db, origin, pdus, this.deps.now())
    const isNew = rows.length === pdus.length
    const staged = new Map<string, ReadPdu[] | undefined>()
    for (const { name } of fitting) staged.set(name.roomId, isNew ? [] : undefined)
    for (const { pdu, ...row } of rows) staged.get(row.roomId)?.push({ row, pdu })
    return staged
  }

  private async judge(
    origin: string,
    text: PduText,
    patience: AbortSignal,
  ): Promise<Judged | 'taken back' | (Dropped & { eventId?: string })> {
    const parsed = parsePdu(text)
    if (isDropped(parsed)) return parsed
    const roomId = ownString(parsed.value, 'room_id')
    const name = roomId === undefined ? undefined : await this.room(roomId, patience)
    if (name === undefined) {
      if (await isTakenBack(this.deps, origin, parsed.value)) return 'taken back'
      return { ...drop('room unknown', 'this server is not in the room'), eventId: eventIdIn(parsed.value) }
    }
    const pdu = readPdu(name.rules, name.roomId, parsed.value)
    if (isDropped(pdu)) return { ...pdu, eventId: eventIdIn(parsed.value) }
    const { eventId } = pdu.event
    // Of the server that makes the request, whoever made the event.
    if (!(await this.deps.acls.allows(name, origin))) {
      return { ...drop('denied by server ACL', 'your server is denied by the ACL of the room'), eventId }
    }
    const lacking = lacksSignature(name.rules, pdu.event)
    return lacking === undefined ? { name, pdu, text } : { ...drop('signature', lacking), eventId }
  }

  /** undefined for a room in which none of our users is. */
  private async room(roomId: string, patience: AbortSignal): Promise<KnownRoom | undefined> {
    const { stores, db, serverName, entrances } = this.deps
    await entrances.ended(roomId, patience)
    const name = await stores.names.find(roomId)
    if (name?.rules === undefined) return undefined
    if (!this.joined.has(name.room)) {
      if ((await joinedOfServer(db, name.room, serverName, 1)).length === 0) return undefined
      this.joined.set(name.room, true)
    }
    return name as KnownRoom
  }

  /** Without those we have in the room's order. Outliers are taken: their state is known when they come. */
  private async unknown(judged: readonly Judged[]): Promise<Judged[]> {
    const { held, counters } = this.deps
    const ofRooms = await Promise.all(
      [...byRoom(judged)].map(async ([{ room }, ofRoom]) => {
        const known = await held.ask({ room, eventIds: ofRoom.map(({ pdu }) => pdu.event.eventId) })
        return ofRoom.filter(({ pdu }) => known.get(pdu.event.eventId)?.hasState !== true)
      }),
    )
    const fresh = ofRooms.flat()
    counters.known += judged.length - fresh.length
    return fresh
  }

  private async fitting(origin: string, fresh: readonly Judged[]): Promise<{ fitting: Judged[]; refused: Judged[] }> {
    const counts = await stagedCounts(this.deps.db, origin, [...new Set(fresh.map(({ name }) => name.roomId))])
    const fitting: Judged[] = []
    const refused: Judged[] = []
    for (const [name, ofRoom] of byRoom(fresh)) {
      const { all, ofOrigin } = counts.get(name.roomId) ?? { all: 0, ofOrigin: 0 }
      const left = Math.max(0, Math.min(MOST_STAGED.ofRoom - all, MOST_STAGED.ofOrigin - ofOrigin))
      fitting.push(...ofRoom.slice(0, left))
      refused.push(...ofRoom.slice(left))
    }
    for (const { pdu } of refused) this.count(origin, { ...drop('too many staged'), eventId: pdu.event.eventId })
    return { fitting, refused }
  }

  private count(origin: string, { dropped, why, eventId }: Dropped & { eventId?: string }): void {
    this.deps.counters.countDropped(dropped)
    this.deps.logger.info({ origin, event_id: eventId, reason: why }, 'a PDU was dropped')
  }
}

/** Only versions 1 and 2 say it, in a PDU that is otherwise not understood. */
const eventIdIn = (pdu: Parameters<typeof ownString>[0]): string | undefined => {
  const eventId = ownString(pdu, 'event_id')
  return eventId !== undefined && eventId.length <= 255 ? eventId : undefined
}

function byRoom(judged: readonly Judged[]): Map<KnownRoom, Judged[]> {
  const rooms = new Map<KnownRoom, Judged[]>()
  for (const one of judged) {
    const known = rooms.get(one.name)
    if (known === undefined) rooms.set(one.name, [one])
    else known.push(one)
  }
  return rooms
}
