/**
 * An event as clients get it. One event is serialised once; its text is shared by all who receive it, and only `unsigned`,
 * which differs between them, is added to it.
 * https://spec.matrix.org/v1.19/client-server-api/#room-event-format
 */
import { canonicalJson } from '../protocol/canonical-json.js'
import type { Json, JsonObject } from '../protocol/json.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { VisibleEvent } from './gate.js'

/** What of `unsigned` depends on who asks, and on other events. */
export interface Unsigned {
  /** Of the requester's own device: what it called this send. */
  readonly transactionId?: string
  /** The event this one replaced in the room's state. */
  readonly replaced?: StoredEvent
  /** The redaction that applies to it. */
  readonly redactedBecause?: VisibleEvent
  /** The requester's membership at the event. */
  readonly membership?: string
}

/** The event as JSON text. `now` is in ms; with `roomId: false` as in /sync, where the room is known. */
export function clientEvent(
  rules: RoomVersionRules,
  stored: VisibleEvent,
  unsigned: Unsigned,
  options: { readonly now: number; readonly withRoomId: boolean },
): string {
  stored.clientText ??= sharedText(rules, stored)
  const roomId = options.withRoomId ? `,"room_id":${JSON.stringify(stored.event.roomId)}` : ''
  return `${stored.clientText}${roomId},"unsigned":${unsignedText(rules, stored, unsigned, options)}}`
}

/** Without the closing brace. */
function sharedText(rules: RoomVersionRules, { event }: StoredEvent): string {
  const shared: Record<string, Json> = {
    type: event.type,
    sender: event.sender,
    content: contentFor(rules, event.redacts, event.content),
    event_id: event.eventId,
    origin_server_ts: event.originServerTs,
  }
  if (event.stateKey !== undefined) shared['state_key'] = event.stateKey
  // Clients that know only one of the two places find `redacts` there.
  if (event.redacts !== undefined) shared['redacts'] = event.redacts
  return jsonText(rules, shared).slice(0, -1)
}

/** Numbers as they were signed. `JSON.stringify`, which is faster, writes `1.0` as `1` and rounds large integers. */
const jsonText = (rules: RoomVersionRules, value: JsonObject): string =>
  rules.strictCanonicalJson ? JSON.stringify(value) : canonicalJson(value, 'any')

const contentFor = (rules: RoomVersionRules, redacts: string | undefined, content: JsonObject): JsonObject =>
  redacts === undefined || rules.redactsInContent || Object.hasOwn(content, 'redacts')
    ? content
    : { ...content, redacts }

function unsignedText(
  rules: RoomVersionRules,
  { event }: StoredEvent,
  unsigned: Unsigned,
  options: { readonly now: number; readonly withRoomId: boolean },
): string {
  const { transactionId, replaced, redactedBecause, membership } = unsigned
  let text = `{"age":${Math.max(0, options.now - event.originServerTs)}`
  if (membership !== undefined) text += `,"membership":${JSON.stringify(membership)}`
  if (transactionId !== undefined) text += `,"transaction_id":${JSON.stringify(transactionId)}`
  if (replaced !== undefined) {
    text += `,"replaces_state":${JSON.stringify(replaced.event.eventId)}`
    text += `,"prev_content":${jsonText(rules, replaced.event.content)},"prev_sender":${JSON.stringify(replaced.event.sender)}`
  }
  if (redactedBecause !== undefined) {
    text += `,"redacted_because":${clientEvent(rules, redactedBecause, {}, options)}`
  }
  return `${text}}`
}
