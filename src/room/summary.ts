/**
 * What lists show of a room, kept as a row and written in the transaction that changes it, so that both sync APIs, the
 * directory and push read rows and not state. Every field is checked here: peers and clients put anything into state.
 */
import { ownString, type JsonObject } from '../protocol/json.js'
import type { RoomSummary } from '../store/log-writer.js'
import type { StoredEvent } from '../store/stored-event.js'

export const emptySummary: RoomSummary = {
  name: null,
  topic: null,
  avatar_url: null,
  canonical_alias: null,
  join_rule: null,
  history_visibility: null,
  guest_access: null,
  encryption: null,
  room_type: null,
  tombstone_event_id: null,
  joined_members: 0,
  invited_members: 0,
  in_directory: false,
}

/** Which state event sets which column, and by which key of its content. */
const columns: Readonly<Record<string, readonly [column: keyof RoomSummary, key: string]>> = {
  'm.room.name': ['name', 'name'],
  'm.room.topic': ['topic', 'topic'],
  'm.room.avatar': ['avatar_url', 'url'],
  'm.room.canonical_alias': ['canonical_alias', 'alias'],
  'm.room.join_rules': ['join_rule', 'join_rule'],
  'm.room.history_visibility': ['history_visibility', 'history_visibility'],
  'm.room.guest_access': ['guest_access', 'guest_access'],
  'm.room.encryption': ['encryption', 'algorithm'],
  'm.room.create': ['room_type', 'type'],
}

/** The summary after a state event took the place of another. The same object when nothing shown has changed. */
export function summaryAfter(summary: RoomSummary, event: StoredEvent, replaced: StoredEvent | undefined): RoomSummary {
  const { type, stateKey, content } = event.event
  if (type === 'm.room.member') return withMembership(summary, replaced?.event.content, content)
  if (stateKey !== '') return summary
  if (type === 'm.room.tombstone') return { ...summary, tombstone_event_id: event.event.eventId }
  const column = Object.hasOwn(columns, type) ? columns[type] : undefined
  if (column === undefined) return summary
  const value = ownString(content, column[1])
  // A text column refuses U+0000, and nobody misses it in a name.
  return { ...summary, [column[0]]: value === undefined || value === '' ? null : value.replaceAll('\u0000', '') }
}

/** The summary after a state event left the state and no other took its place: a resolution can do that. */
export function summaryWithout(summary: RoomSummary, { event: { type, stateKey, content } }: StoredEvent): RoomSummary {
  if (type === 'm.room.member') return withMembership(summary, content, undefined)
  if (stateKey !== '') return summary
  if (type === 'm.room.tombstone') return { ...summary, tombstone_event_id: null }
  const column = Object.hasOwn(columns, type) ? columns[type] : undefined
  return column === undefined ? summary : { ...summary, [column[0]]: null }
}

function withMembership(
  summary: RoomSummary,
  before: JsonObject | undefined,
  after: JsonObject | undefined,
): RoomSummary {
  const was = before && ownString(before, 'membership')
  const is = after && ownString(after, 'membership')
  if (was === is) return summary
  const count = (membership: string) => Number(is === membership) - Number(was === membership)
  return {
    ...summary,
    joined_members: summary.joined_members + count('join'),
    invited_members: summary.invited_members + count('invite'),
  }
}
