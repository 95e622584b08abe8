/**
 * What follows from an event beside the event itself: the room's running counts and whom it highlights, and, where the
 * current state becomes another, memberships and what lists show of the room. Those follow the difference of the states
 * and not the event: a resolution can change other keys than the event's own, or not take the event in.
 */
import { powerLevels } from '../protocol/authorization/index.js'
import { isUserId, serverNameOf } from '../protocol/identifiers.js'
import { ownString, type JsonObject } from '../protocol/json.js'
import type { StateReference } from '../protocol/numbers.js'
import { redactedEvent } from '../protocol/pdu.js'
import { defaultVerdict } from '../protocol/push-rules.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'
import { difference } from '../protocol/state-trie.js'
import type { Membership } from '../store/facts.js'
import type { MembershipChange, NewEvent, RoomSummary } from '../store/log-writer.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { BuildContext, BuildingHead } from './build-event.js'
import { strippedStateOf } from './stripped-state.js'
import { summaryAfter, summaryWithout } from './summary.js'

export type LookUp = (type: string, key: string) => StoredEvent | undefined

export interface Attention {
  readonly notifies: boolean
  readonly highlightsAll: boolean
  readonly highlights: readonly string[]
}

/** By the default push rules, with the state the event was made on. */
export function attentionTo(
  { rules, server }: BuildContext,
  before: BuildingHead,
  event: {
    readonly type: string
    readonly sender: string
    readonly stateKey?: string | undefined
    readonly content: JsonObject
  },
  lookUp: LookUp,
): Attention {
  const { type, sender, stateKey, content } = event
  const levels = before.create && powerLevels(rules, before.create.event, lookUp('m.room.power_levels', '')?.event)
  const { notify, highlightAll, mentioned } = defaultVerdict({
    type,
    sender,
    stateKey,
    content,
    roomMemberCount: before.summary.joined_members,
    mentionsRoomAllowed: levels !== undefined && levels.levelOf(sender) >= levels.notifications('room'),
  })
  return {
    notifies: notify,
    highlightsAll: highlightAll,
    highlights: localMembers(server.name, mentioned, sender, lookUp),
  }
}

/** Whom a message mentions that this server has to tell: joined local users, the sender aside. */
const localMembers = (serverName: string, mentioned: readonly string[], sender: string, lookUp: LookUp): string[] =>
  mentioned.filter(
    (user) =>
      user !== sender &&
      serverNameOf(user) === serverName &&
      ownString(lookUp('m.room.member', user)?.event.content ?? {}, 'membership') === 'join',
  )

export interface StateEffects {
  readonly memberships: readonly MembershipChange[]
  readonly summary: RoomSummary
}

const nobody: readonly MembershipChange[] = []

/** One key of the state, and what it holds before and after. */
export interface KeyChange {
  readonly before: StoredEvent | undefined
  readonly after: StoredEvent | undefined
}

/** Of a state that became another; `changes` spares looking for the difference where it is known. */
export function effectsOf(changes: readonly KeyChange[], summary: RoomSummary, lookUp: LookUp): StateEffects {
  const memberships: MembershipChange[] = []
  for (const { before, after } of changes) {
    summary = after === undefined ? summaryWithout(summary, before!) : summaryAfter(summary, after, before)
    const membership = membershipOf(after, before, lookUp)
    if (membership !== undefined) memberships.push(membership)
  }
  return { memberships: memberships.length === 0 ? nobody : memberships, summary }
}

/** `stored` is the event that is being taken in, which no cache knows yet. */
export function changesBetween(
  { view, packer }: BuildContext,
  before: StateReference,
  after: StateReference,
  stored: StoredEvent,
): KeyChange[] {
  if (before === after) return []
  const differences = view.run(difference(packer, before, after))
  view.haveEvents(
    differences.flatMap((key) => [key.before, key.after].filter((number) => number !== undefined)),
    stored.number,
  )
  const event = (number: StoredEvent['number'] | undefined) =>
    number === undefined ? undefined : number === stored.number ? stored : view.event(number)
  return differences.map((key) => ({ before: event(key.before), after: event(key.after) }))
}

function membershipOf(
  after: StoredEvent | undefined,
  before: StoredEvent | undefined,
  lookUp: LookUp,
): MembershipChange | undefined {
  const { event } = (after ?? before)!
  if (event.type !== 'm.room.member' || event.stateKey === undefined || !isUserId(event.stateKey)) return undefined
  const was = before && ownString(before.event.content, 'membership')
  const is = after === undefined ? 'leave' : ownString(after.event.content, 'membership')
  if (is === undefined) return undefined
  // A new profile or reason begins no new membership; a new invite is shown anew.
  if (was === is && is !== 'invite') return undefined
  const uninvolved = is === 'invite' || is === 'knock'
  return {
    user: event.stateKey,
    membership: is as Membership,
    sender: event.sender,
    event: after?.number,
    strippedState: uninvolved ? strippedStateOf(event, lookUp) : undefined,
  }
}

type Redaction = NonNullable<NewEvent['redaction']>

/** What is left of an event that is redacted. */
export function redactionOf(rules: RoomVersionRules, target: StoredEvent): Redaction {
  return { target, ...redactedEvent(rules, target.event) }
}

/** What a redacted state event said of the room is shown no more. Memberships outlive their redaction. */
export const withoutRedacted = (
  summary: RoomSummary,
  redaction: Redaction | undefined,
  isCurrent: boolean,
): RoomSummary =>
  redaction === undefined || !isCurrent
    ? summary
    : summaryAfter(summary, { ...redaction.target, event: redaction.event }, redaction.target)
