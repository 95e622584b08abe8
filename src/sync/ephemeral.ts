/** Ephemeral events and account data of a room, as text. */
import { eventMatches, type EventFilter, type RoomEventFilter } from '../protocol/filter.js'
import { isObject, type JsonObject } from '../protocol/json.js'
import type { AccountDataFact, ReceiptFact } from '../store/facts.js'

/** undefined: nothing to tell. */
export function typingText(
  filter: RoomEventFilter,
  roomId: string,
  users: readonly string[] | undefined,
): string | undefined {
  if (users === undefined || !eventMatches(filter, { type: 'm.typing', roomId, content: {} })) return undefined
  return `{"type":"m.typing","content":{"user_ids":${JSON.stringify(users)}}}`
}

/** All receipts of a room as one event; of each kind of each user, the newest. */
export function receiptsText(
  filter: RoomEventFilter,
  roomId: string,
  receipts: readonly ReceiptFact[],
): string | undefined {
  if (receipts.length === 0 || !eventMatches(filter, { type: 'm.receipt', roomId, content: {} })) return undefined
  const newest = new Map(receipts.map((fact) => [JSON.stringify([fact.user, fact.type, fact.threadId]), fact]))
  const byEvent = new Map<string, Map<string, Map<string, string>>>()
  for (const { eventId, type, user, ts, threadId } of newest.values()) {
    const thread = threadId === '' ? '' : `,"thread_id":${JSON.stringify(threadId)}`
    // A user may have receipts of several threads at one event, and the format has room for one: the last.
    below(below(byEvent, eventId), type).set(user, `{"ts":${ts}${thread}}`)
  }
  const content = objectText(byEvent, (types) => objectText(types, (users) => objectText(users, (text) => text)))
  return `{"type":"m.receipt","content":${content}}`
}

function below<K, L, V>(map: Map<K, Map<L, V>>, key: K): Map<L, V> {
  let inner = map.get(key)
  if (inner === undefined) map.set(key, (inner = new Map()))
  return inner
}

const objectText = <V>(map: ReadonlyMap<string, V>, text: (value: V) => string): string =>
  `{${Array.from(map, ([key, value]) => `${JSON.stringify(key)}:${text(value)}`).join(',')}}`

/** Of each type the newest. */
export function accountDataTexts(
  filter: EventFilter | RoomEventFilter,
  roomId: string | undefined,
  facts: readonly AccountDataFact[],
): string[] {
  const newest = new Map(facts.map((fact) => [fact.type, fact.content]))
  return Array.from(newest).flatMap(([type, text]) =>
    eventMatches(filter, { type, roomId, content: contentFor(filter, text) })
      ? [`{"type":${JSON.stringify(type)},"content":${text}}`]
      : [],
  )
}

/** Only a filter by `url` looks inside. */
function contentFor(filter: EventFilter | RoomEventFilter, text: string): JsonObject {
  if (!('containsUrl' in filter) || filter.containsUrl === undefined) return {}
  const content: unknown = JSON.parse(text)
  return isObject(content) ? content : {}
}
