/**
 * May a user read an event? https://spec.matrix.org/v1.19/client-server-api/#room-history-visibility
 *
 * The answer depends on the state of the room at the event, and on one thing that comes after it: whether the user joined
 * later. A page of events has few distinct states, so the two are apart: `readabilityOf` is asked once per distinct state,
 * and only when it says `if-joined-later` does anybody have to know more about the user. What each visibility depends on:
 *
 * | visibility       | readable by                                                                              |
 * | ---------------- | ---------------------------------------------------------------------------------------- |
 * | `world_readable` | everybody, guests included                                                               |
 * | `shared`         | who was joined at the event, and who joined at any time after it, even if they left again |
 * | `invited`        | who was joined or invited at the event                                                   |
 * | `joined`         | who was joined at the event                                                              |
 *
 * So leaving takes nothing away that could be read, and gives nothing of what comes after. `readabilityOfEvent` adds
 * the two kinds of events that change what it depends on, and is what a caller asks for each event.
 *
 * A server reads what any of its users may: it is asked about like a user who has the strongest of their memberships.
 * A guest is asked about like any user: where guests may join, they are members, and where not, they see what strangers do.
 */
import { ownString } from './json.js'
import type { RoomEvent } from './room-event.js'

export type HistoryVisibility = 'world_readable' | 'shared' | 'invited' | 'joined'

/** What the state before an event says about a reader's right to read it. */
export interface VisibilityAtEvent {
  readonly visibility: HistoryVisibility
  /** The reader's membership, undefined for who never was in the room. */
  readonly membership: string | undefined
}

/** Of the memberships of a server's users the one that lets it read most; undefined when none lets it read anything. */
export const strongestMembership = (memberships: readonly (string | undefined)[]): string | undefined =>
  ['join', 'invite'].find((strong) => memberships.includes(strong))

export type Readability = 'always' | 'if-joined-later' | 'never'

/**
 * What an `m.room.history_visibility` event sets. By default if no `history_visibility` is set, or if the value is not
 * understood, the visibility is assumed to be `shared`.
 */
export function historyVisibilityOf(event: Pick<RoomEvent, 'content'> | undefined): HistoryVisibility {
  const value = event === undefined ? undefined : ownString(event.content, 'history_visibility')
  return value === 'world_readable' || value === 'invited' || value === 'joined' ? value : 'shared'
}

/** The five rules for all events with this state, but for the two kinds that `readabilityOfEvent` knows. */
export function readabilityOf({ visibility, membership }: VisibilityAtEvent): Readability {
  // 1. If the history_visibility was set to world_readable, allow.
  if (visibility === 'world_readable') return 'always'

  // 2. If the user's membership was join, allow.
  if (membership === 'join') return 'always'

  // 3. If history_visibility was set to shared, and the user joined the room at any point after the event was sent, allow.
  if (visibility === 'shared') return 'if-joined-later'

  // 4. If the user's membership was invite, and the history_visibility was set to invited, allow.
  if (membership === 'invite' && visibility === 'invited') return 'always'

  // 5. Otherwise, deny.
  return 'never'
}

/**
 * The right to read this event, given the state before it. `isOwn` tells whose memberships are the reader's: a user has
 * one, a server those of all its users, and a stranger none.
 */
export function readabilityOfEvent(
  event: Pick<RoomEvent, 'type' | 'stateKey' | 'content'>,
  isOwn: (userId: string) => boolean,
  before: VisibilityAtEvent,
): Readability {
  return morePermissive(readabilityOf(before), readabilityOf(after(event, isOwn, before)))
}

/**
 * For `m.room.history_visibility` events themselves, the user should be allowed to see the event if the
 * `history_visibility` before or after the event would allow them to see it. Likewise, for the user's own `m.room.member`
 * events, if their `membership` before or after the event would.
 */
function after(
  { type, stateKey, content }: Pick<RoomEvent, 'type' | 'stateKey' | 'content'>,
  isOwn: (userId: string) => boolean,
  before: VisibilityAtEvent,
): VisibilityAtEvent {
  if (type === 'm.room.history_visibility' && stateKey === '') {
    return { ...before, visibility: historyVisibilityOf({ content }) }
  }
  if (type === 'm.room.member' && stateKey !== undefined && isOwn(stateKey)) {
    return { ...before, membership: ownString(content, 'membership') }
  }
  return before
}

const order: readonly Readability[] = ['never', 'if-joined-later', 'always']

const morePermissive = (left: Readability, right: Readability): Readability =>
  order.indexOf(left) >= order.indexOf(right) ? left : right
