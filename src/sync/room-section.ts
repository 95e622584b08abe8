import type { StateReference } from '../protocol/numbers.js'
import { emptyState } from '../protocol/state-trie.js'
import { afterPosition, beforeEvent, formatRoomToken } from '../room/pagination-token.js'
import type { VisibleEvent } from '../room/gate.js'
import type { AccountDataFact, Fact, ReceiptFact } from '../store/facts.js'
import type { StoredEvent } from '../store/stored-event.js'
import { withoutMisleading } from './effective.js'
import { accountDataTexts, receiptsText, typingText } from './ephemeral.js'
import type { RoomTask } from './plan.js'
import { eventsText, stateTexts, timelineTexts, unheldTexts, type KnownRoom, type Reading } from './reading.js'
import {
  namingTypes,
  nothingShown,
  readState,
  shownChanges,
  type MemberChange,
  type ShownChanges,
  type StateSpan,
} from './room-state.js'
import { summaryText, type RoomSummaries, type ShownSummary } from './room-summaries.js'
import type { Unread, UnreadCounts } from './unread-counts.js'
import { readTimeline, type Timeline } from './timeline.js'

/** What happened in a room within the window of its task. */
export interface RoomInput {
  readonly task: RoomTask
  readonly events: readonly StoredEvent[]
  /** There are older ones in the window. */
  readonly hasMore: boolean
  /** Current state at both ends; undefined when it is the same and nobody asked. */
  readonly states: { readonly before: StateReference | undefined; readonly after: StateReference } | undefined
  readonly receipts: readonly ReceiptFact[]
  readonly accountData: readonly AccountDataFact[]
  /** undefined: nothing new. */
  readonly typing: readonly string[] | undefined
  /** Given for rooms the client has not seen. */
  readonly summary: ShownSummary | undefined
  /** Of a room that was left by no event that we hold: what its user is told of it, a JSON array of events. */
  readonly unheldEnding: string | undefined
}

export interface RoomSection {
  readonly text: string
  readonly memberChanges: readonly MemberChange[]
}

/** From what the log has in memory. */
export function inputFromFacts(facts: readonly Fact[]): Pick<RoomInput, 'events' | 'states' | 'receipts'> {
  const events: StoredEvent[] = []
  const receipts: ReceiptFact[] = []
  let states: RoomInput['states']
  for (const fact of facts) {
    if (fact.kind === 'event') events.push(fact.event)
    else if (fact.kind === 'receipt') receipts.push(fact)
    else if (fact.kind === 'state-change') states = { before: states?.before ?? fact.before, after: fact.after }
  }
  return { events, states, receipts }
}

/** undefined: there is nothing in it for this client. */
export async function readRoom(
  reading: Reading,
  summaries: RoomSummaries,
  name: KnownRoom,
  input: RoomInput,
): Promise<RoomSection | undefined> {
  return input.task.section === 'join' ? readJoined(reading, summaries, name, input) : readLeft(reading, name, input)
}

async function readJoined(
  reading: Reading,
  summaries: RoomSummaries,
  name: KnownRoom,
  input: RoomInput,
): Promise<RoomSection | undefined> {
  const { requester, view, filter } = reading
  const { task } = input
  const timeline = await timelineOf(reading, name, input)
  const changes = await changesOf(reading, name, input)
  const isRecounted = changes.members.length > 0 || changes.isRenamed || (await hasLostName(reading, name, input))
  const summary = input.summary ?? (isRecounted ? await summaries.of(name, requester.userId) : undefined)
  const state = await readState(reading, name, spanOf(reading, input), timeline, summary?.heroes ?? [])
  const { ephemeral: ephemeralFilter, accountData: accountDataFilter } = filter.room
  const ephemeral = [
    typingText(ephemeralFilter, name.roomId, input.typing),
    receiptsText(ephemeralFilter, name.roomId, input.receipts),
  ].filter((text) => text !== undefined)
  const accountData = accountDataTexts(accountDataFilter, name.roomId, input.accountData)
  const countsChanged = input.receipts.some((receipt) => receipt.user === requester.userId)
  const isEmpty =
    timeline.events.length + state.length + ephemeral.length + accountData.length === 0 &&
    !timeline.limited &&
    !countsChanged &&
    summary === undefined
  if (isEmpty && !task.isNew && !reading.fullState) return undefined
  const parts = [
    ...(await sharedParts(reading, name, timeline, state)),
    `"ephemeral":${eventsText(ephemeral)}`,
    `"account_data":${eventsText(accountData)}`,
    ...unreadParts(view.rooms.get(task.room)?.unread, filter.room.timeline.unreadThreadNotifications),
  ]
  if (summary !== undefined) parts.push(`"summary":${summaryText(summary)}`)
  return { text: `{${parts.join(',')}}`, memberChanges: changes.members }
}

/** "If `unread_thread_notifications` was specified as `true`, these counts will only be for the main timeline." */
function unreadParts(unread: UnreadCounts | undefined, byThread: boolean): string[] {
  const main = (byThread ? unread?.mainOnly : unread?.all) ?? { notifications: 0, highlights: 0 }
  const room = `"unread_notifications":${unreadText(main)}`
  if (!byThread) return [room]
  const threads = Array.from(
    unread?.threadCounts() ?? [],
    ([root, counts]) => `${JSON.stringify(root)}:${unreadText(counts)}`,
  )
  return [room, `"unread_thread_notifications":{${threads.join(',')}}`]
}

const unreadText = ({ notifications, highlights }: Unread): string =>
  `{"notification_count":${notifications},"highlight_count":${highlights}}`

/** Up to the end of the time the user was joined, and how they are out of it now. */
async function readLeft(reading: Reading, name: KnownRoom, input: RoomInput): Promise<RoomSection | undefined> {
  const { task } = input
  const joined = task.onlyEnding ? { events: [], limited: false } : await timelineOf(reading, name, input)
  const ending = await endingOf(reading, name, task)
  const timeline = withEnding(joined, ending)
  // What came after they were joined says nothing of the state that they may see.
  const shown = ending !== undefined && ending.position! > task.upTo ? joined : timeline
  const senders = ending === undefined ? [] : [ending.event.sender]
  const before = task.onlyEnding ? [] : await readState(reading, name, spanOf(reading, input), shown, senders)
  const state = reading.stateAfter.length === 0 ? before : withLast(before, ending)
  const accountData = accountDataTexts(reading.filter.room.accountData, name.roomId, input.accountData)
  const parts = await sharedParts(reading, name, timeline, state, unheldTexts(reading, input.unheldEnding))
  return { text: `{${parts.join(',')},"account_data":${eventsText(accountData)}}`, memberChanges: [] }
}

async function sharedParts(
  reading: Reading,
  name: KnownRoom,
  timeline: Timeline,
  state: readonly VisibleEvent[],
  ending: readonly string[] = [],
): Promise<string[]> {
  const isAfter = reading.stateAfter.length > 0
  const events = [...(await timelineTexts(reading, name, timeline.events)), ...ending].join(',')
  const first = timeline.events[0]
  const place = first === undefined ? afterPosition(reading.now) : beforeEvent(first)
  const prevBatch = JSON.stringify(formatRoomToken(place))
  const stateText = eventsText([...(await stateTexts(reading, name, state)), ...(isAfter ? ending : [])])
  return [
    `"timeline":{"events":[${events}],"limited":${timeline.limited},"prev_batch":${prevBatch}}`,
    ...(isAfter ? reading.stateAfter : ['state']).map((key) => `"${key}":${stateText}`),
  ]
}

async function timelineOf(reading: Reading, name: KnownRoom, input: RoomInput): Promise<Timeline> {
  const { task, events, hasMore } = input
  const readable = await readTimeline(reading, name, { events, hasMore, after: task.after })
  const timeline = await withoutMisleading(reading, name, spanOf(reading, input), readable)
  // What came before the client joined is new to it, however little there is of it.
  return task.isNew && reading.since !== undefined ? { ...timeline, limited: true } : timeline
}

/**
 * The user is told how they left, and what became of that, whatever else they may read. By an event from before the window,
 * as when a ban that came before takes effect, they are told in the state.
 */
async function endingOf(
  { stores, gate }: Reading,
  { room }: KnownRoom,
  { ending, after }: RoomTask,
): Promise<VisibleEvent | undefined> {
  if (ending === undefined) return undefined
  const event = (await stores.events.events(room, [ending])).get(ending)
  return event?.position === undefined || event.position <= after ? undefined : gate.inReadableState([event])[0]
}

function withEnding(timeline: Timeline, ending: VisibleEvent | undefined): Timeline {
  if (ending === undefined || timeline.events.some((event) => event.number === ending.number)) return timeline
  return { ...timeline, events: [...timeline.events, ending] }
}

/** Of the state at the end of the timeline: whatever a filter keeps out of it, it has how the user left. */
const withLast = (state: readonly VisibleEvent[], ending: VisibleEvent | undefined): readonly VisibleEvent[] =>
  ending === undefined ? state : [...state.filter(({ stateKey }) => stateKey !== ending.stateKey), ending]

function spanOf(reading: Reading, { task, states }: RoomInput): StateSpan | undefined {
  if (states === undefined) return undefined
  const isWhole = task.isNew || reading.fullState
  return { from: isWhole ? emptyState : (states.before ?? emptyState), to: states.after }
}

/** What is redacted stays in the state: no difference of states tells of it. */
async function hasLostName(
  { stores, rooms }: Reading,
  name: KnownRoom,
  { task, events, hasMore }: RoomInput,
): Promise<boolean> {
  if (task.isNew || (!hasMore && !events.some(({ event }) => event.redacts !== undefined))) return false
  const naming = await Promise.all([...namingTypes].map((type) => rooms.currentState(name, type, '')))
  const redactions = naming.flatMap((event) => event?.redactedBy ?? [])
  const redacted = await stores.events.events(name.room, redactions)
  return [...redacted.values()].some(({ position }) => position !== undefined && position > task.after)
}

/** In a room the client knows. */
export async function changesOf(
  reading: Reading,
  name: KnownRoom,
  { task, states }: Pick<RoomInput, 'task' | 'states'>,
): Promise<ShownChanges> {
  if (task.isNew || states?.before === undefined) return nothingShown
  return shownChanges(reading, name, { from: states.before, to: states.after })
}
