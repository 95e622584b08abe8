/**
 * EDUs that may be lost: typing, receipts and presence. They wait in the memory of the process that made them, the newest of each
 * kind, until a transaction takes them along; whoever is told late is told what holds now. A destination that has been
 * away longer finds receipts and nobody typing.
 */
import { LRUCache } from 'lru-cache'
import { canonicalJson } from '../../protocol/canonical-json.js'
import type { JsonObject } from '../../protocol/json.js'
import { presenceContent, type Presence } from '../../sync/presence.js'

export interface OutgoingReceipt {
  readonly roomId: string
  readonly userId: string
  readonly eventId: string
  /** '' for an unthreaded receipt. */
  readonly threadId: string
  readonly ts: number
}

export interface OutgoingTyping {
  readonly roomId: string
  readonly userId: string
  readonly isTyping: boolean
}

interface Waiting {
  /** With when they were made. */
  readonly typing: Map<string, OutgoingTyping & { readonly ts: number }>
  readonly receipts: Map<string, OutgoingReceipt>
  /** By user. */
  readonly presences: Map<string, Presence>
}

/** As long as a client lets somebody type without saying so again, in ms. */
const TYPING_LASTS = 30_000
/** Of one destination, of each kind. Those that wait longest go. */
const MOST = 500
/** Users in one EDU. */
const MOST_PUSHED = 100

export class CoalescedEdus {
  private readonly destinations = new LRUCache<string, Waiting>({ max: 10_000 })

  constructor(private readonly now: () => number) {}

  typing(destination: string, typing: OutgoingTyping): void {
    put(this.of(destination).typing, `${typing.roomId} ${typing.userId}`, { ...typing, ts: this.now() })
  }

  receipt(destination: string, receipt: OutgoingReceipt): void {
    put(this.of(destination).receipts, `${receipt.roomId} ${receipt.userId} ${receipt.threadId}`, receipt)
  }

  presence(destination: string, userId: string, presence: Presence): void {
    put(this.of(destination).presences, userId, presence)
  }

  /** Destinations for which something waits. */
  waiting(): string[] {
    return [...this.destinations.keys()]
  }

  has(destination: string): boolean {
    return this.destinations.has(destination)
  }

  /** Takes out what fits into so many EDUs, as canonical JSON. */
  take(destination: string, limit: number): string[] {
    const waiting = this.destinations.peek(destination)
    if (waiting === undefined || limit <= 0) return []
    const edus = receiptEdus(waiting.receipts, limit)
    if (edus.length < limit && waiting.presences.size > 0) edus.push(presenceEdu(waiting.presences, this.now()))
    const oldest = this.now() - TYPING_LASTS
    for (const [key, { ts, ...typing }] of waiting.typing) {
      if (edus.length >= limit) break
      waiting.typing.delete(key)
      if (ts > oldest) edus.push(typingEdu(typing))
    }
    const { typing, receipts, presences } = waiting
    if (typing.size + receipts.size + presences.size === 0) this.destinations.delete(destination)
    return edus
  }

  private of(destination: string): Waiting {
    let waiting = this.destinations.get(destination)
    if (waiting === undefined) {
      waiting = { typing: new Map(), receipts: new Map(), presences: new Map() }
      this.destinations.set(destination, waiting)
    }
    return waiting
  }
}

/** What is newer stands at the end. */
function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > MOST) map.delete(map.keys().next().value!)
}

const edu = (edu_type: string, content: JsonObject): string => canonicalJson({ edu_type, content })

const typingEdu = ({ roomId, userId, isTyping }: OutgoingTyping): string =>
  edu('m.typing', { room_id: roomId, user_id: userId, typing: isTyping })

/** An EDU has one receipt of a user in a room: those of further threads go with further EDUs. */
function receiptEdus(receipts: Map<string, OutgoingReceipt>, limit: number): string[] {
  const contents: Map<string, Map<string, OutgoingReceipt>>[] = []
  for (const [key, receipt] of receipts) {
    let content = contents.find((one) => one.get(receipt.roomId)?.has(receipt.userId) !== true)
    if (content === undefined) {
      if (contents.length >= limit) continue
      contents.push((content = new Map()))
    }
    const ofRoom = content.get(receipt.roomId) ?? new Map<string, OutgoingReceipt>()
    content.set(receipt.roomId, ofRoom.set(receipt.userId, receipt))
    receipts.delete(key)
  }
  return contents.map((content) =>
    edu(
      'm.receipt',
      Object.fromEntries(Array.from(content, ([roomId, users]) => [roomId, { 'm.read': readBy(users) }])),
    ),
  )
}

const readBy = (users: ReadonlyMap<string, OutgoingReceipt>): JsonObject =>
  Object.fromEntries(
    Array.from(users, ([userId, { eventId, threadId, ts }]) => [
      userId,
      { event_ids: [eventId], data: { ts, ...(threadId === '' ? {} : { thread_id: threadId }) } },
    ]),
  )

function presenceEdu(presences: Map<string, Presence>, now: number): string {
  const push: JsonObject[] = []
  for (const [userId, presence] of presences) {
    if (push.length >= MOST_PUSHED) break
    presences.delete(userId)
    push.push({ user_id: userId, last_active_ago: 0, ...presenceContent(presence, now) })
  }
  return edu('m.presence', { push })
}
