/**
 * One answer of `/sync`, read at one position and written as text: events are serialised once and not looked at again.
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3sync
 */
import { eventMatches, roomMatches } from '../protocol/filter.js'
import type { DeviceNumber, Position, RoomNumber, StateReference } from '../protocol/numbers.js'
import { pushRulesContent } from '../protocol/push-rules.js'
import type { KeyCounts } from '../store/device-keys.js'
import type { AccountDataFact, ReceiptFact } from '../store/facts.js'
import type { RoomName } from '../store/room-names.js'
import { strippedStates } from '../store/memberships.js'
import { accountDataIn, newestEvents, receiptsIn, statesAt, type RoomWindow } from '../store/room-windows.js'
import { waitingMessages, type WaitingMessage } from '../store/to-device-inbox.js'
import { readDeviceLists } from './device-lists.js'
import { accountDataTexts } from './ephemeral.js'
import type { JoinedRooms } from './joined-rooms.js'
import type { Plan, RoomTask } from './plan.js'
import type { News } from './presence-news.js'
import { eventsText, type KnownRoom, type Reading } from './reading.js'
import { changesOf, inputFromFacts, readRoom, type RoomInput } from './room-section.js'
import type { MemberChange } from './room-state.js'
import type { RoomSummaries, ShownSummary } from './room-summaries.js'
import { timelineLimit } from './timeline.js'
import type { Typing } from './typing.js'
import type { ViewedRoom } from './user-view.js'
import type { Views } from './views.js'

export interface AnswerDeps {
  readonly views: Views
  readonly summaries: RoomSummaries
  readonly joined: JoinedRooms
  readonly typing: Typing
  readonly keyCounts: (device: DeviceNumber) => Promise<KeyCounts>
}

/** Messages to a device that one answer holds. */
const MAX_MESSAGES = 100

export interface AnswerParts {
  /** All but `next_batch`, without braces. */
  readonly text: string
  /** Nothing in it that the client would have waited for. */
  readonly isEmpty: boolean
  /** The last message to the device that is in it, when there are more. */
  readonly messagesUpTo: Position
}

export async function readAnswer(
  deps: AnswerDeps,
  reading: Reading,
  plan: Plan,
  toDeviceSince: Position,
  typing: ReadonlySet<RoomNumber>,
  presence: News,
): Promise<AnswerParts> {
  const names = await namesOf(reading, plan)
  const accountData = await accountDataOf(reading, plan)
  const { sections, memberChanges } = await roomSections(deps, reading, plan, names, accountData, typing)
  const { requester, stores } = reading
  // Read anew each time: what was redacted since is not shown.
  const open = [...plan.invites.keys(), ...plan.knocks.keys()]
  const stripped = await strippedStates(stores.db, requester.userId, open, ['invite', 'knock'])
  const invites = strippedTexts(reading, plan.invites, stripped, names, 'invite_state')
  const knocks = strippedTexts(reading, plan.knocks, stripped, names, 'knock_state')
  const globals = globalAccountData(reading, plan, accountData)
  const messages = await messagesOf(reading, plan, toDeviceSince)
  const lists = await readDeviceLists(reading, deps.joined, plan, memberChanges)
  const counts = await deps.keyCounts(reading.requester.device)
  const parts = [
    `"device_one_time_keys_count":${oneTimeKeysText(counts)}`,
    `"device_unused_fallback_key_types":${JSON.stringify(counts.unusedFallback)}`,
    `"org.matrix.msc2732.device_unused_fallback_key_types":${JSON.stringify(counts.unusedFallback)}`,
  ]
  const rooms = roomsText([
    ['join', sections.join],
    ['invite', invites],
    ['knock', knocks],
    ['leave', sections.leave],
  ])
  if (rooms !== undefined) parts.push(`"rooms":${rooms}`)
  if (presence.texts.length > 0) parts.push(`"presence":${eventsText(presence.texts)}`)
  if (globals.length > 0) parts.push(`"account_data":${eventsText(globals)}`)
  if (messages.length > 0) parts.push(`"to_device":${eventsText(messages.map(messageText))}`)
  const hasLists = lists.changed.length + lists.left.length > 0
  if (hasLists) parts.push(`"device_lists":${JSON.stringify(lists)}`)
  const hasPresence = presence.isNews && presence.texts.length > 0
  return {
    text: parts.join(','),
    isEmpty: rooms === undefined && globals.length === 0 && messages.length === 0 && !hasLists && !hasPresence,
    messagesUpTo: messages.length < MAX_MESSAGES ? plan.now : messages.at(-1)!.position,
  }
}

const namesOf = ({ stores }: Reading, plan: Plan): Promise<Map<RoomNumber, RoomName>> =>
  stores.names.names([...plan.rooms.map(({ room }) => room), ...plan.invites.keys(), ...plan.knocks.keys()])

// Rooms

interface Sections {
  readonly join: [roomId: string, text: string][]
  readonly leave: [roomId: string, text: string][]
}

/** Rooms that are read at a time: waiting for one row more or less hides behind the others, and others have connections left. */
const CONCURRENCY = 4
/** So many rooms are written between two turns of the event loop. */
const TURN = 16

async function roomSections(
  deps: AnswerDeps,
  reading: Reading,
  plan: Plan,
  names: ReadonlyMap<RoomNumber, RoomName>,
  accountData: readonly AccountDataFact[],
  typing: ReadonlySet<RoomNumber>,
): Promise<{ sections: Sections; memberChanges: readonly MemberChange[] }> {
  const named = plan.rooms.flatMap((task) => {
    const name = names.get(task.room)
    return name === undefined ? [] : [{ task, name }]
  })
  const wanted = named.filter(({ name }) => roomMatches(reading.filter.room, name.roomId))
  const hidden = named.filter(({ name }) => !roomMatches(reading.filter.room, name.roomId))
  forgetSentMembers(reading, plan)
  const inputs = await inputsOf(
    deps,
    reading,
    plan,
    wanted.map(({ task }) => task),
    accountData,
    typing,
  )
  const sections: Sections = { join: [], leave: [] }
  const memberChanges = [...(await hiddenChanges(reading, hidden))]
  const read = await inTurns(wanted, async ({ task, name }) => {
    const input = inputs.get(task.room)
    if (input === undefined || (name.rules === undefined && task.section === 'join')) return undefined
    // Of a room that we do not hold there is only the end of an invite or a knock, which is written without its rules.
    return readRoom(reading, deps.summaries, name as KnownRoom, input)
  })
  for (const [i, section] of read.entries()) {
    if (section === undefined) continue
    const { task, name } = wanted[i]!
    sections[task.section].push([name.roomId, section.text])
    memberChanges.push(...section.memberChanges)
  }
  return { sections, memberChanges }
}

/** Of rooms that a filter hides: whose devices matter is no part of a room. */
async function hiddenChanges(
  reading: Reading,
  hidden: readonly { readonly task: RoomTask; readonly name: RoomName }[],
): Promise<readonly MemberChange[]> {
  const known = hidden.filter(({ task: { section, isNew } }) => section === 'join' && !isNew)
  if (known.length === 0) return []
  const unread = known.filter(({ task }) => task.facts === undefined).map(({ task }) => task)
  const { db } = reading.stores
  const before = await statesAt(
    db,
    unread.map(({ room, after }) => ({ room, position: after })),
  )
  const after = await statesAt(
    db,
    unread.map(({ room, upTo }) => ({ room, position: upTo })),
  )
  const changes = await inTurns(known, ({ task, name }) => {
    const { room, facts } = task
    const states = facts === undefined ? statesOf(before.get(room), after.get(room)) : inputFromFacts(facts).states
    return changesOf(reading, name as KnownRoom, { task, states })
  })
  return changes.flatMap(({ members }) => members)
}

/** A client that gets a room anew need not have kept anything of it. */
function forgetSentMembers({ view, requester }: Reading, { since, rooms }: Plan): void {
  if (since === undefined) view.sentMembers.forget(requester.device)
  else for (const { room, isNew } of rooms) if (isNew) view.sentMembers.forget(requester.device, room)
}

async function inTurns<T, R>(items: readonly T[], task: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = new Array<R>(items.length)
  let next = 0
  const work = async () => {
    while (next < items.length) {
      const i = next++
      results[i] = await task(items[i]!)
      if (i % TURN === TURN - 1) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await Promise.all(Array.from({ length: Math.min(CONCURRENCY, items.length) }, work))
  return results
}

/** What the log has in memory is taken from there; for all other rooms the tables are read, each for all of them. */
async function inputsOf(
  deps: AnswerDeps,
  reading: Reading,
  plan: Plan,
  tasks: readonly RoomTask[],
  accountData: readonly AccountDataFact[],
  typing: ReadonlySet<RoomNumber>,
): Promise<Map<RoomNumber, RoomInput>> {
  const read = tasks.filter((task) => task.facts === undefined && !task.onlyEnding)
  const tables = await readTables(deps, reading, read)
  const full = reading.fullState ? tasks.filter((task) => task.facts !== undefined) : []
  const states = await statesAt(
    reading.stores.db,
    full.map(({ room, upTo }) => ({ room, position: upTo })),
  )
  await deps.views.withUnread(
    reading.view,
    tasks.filter(({ section }) => section === 'join').map(({ room }) => room),
  )
  const unheld = tasks.filter(({ section, ending }) => section === 'leave' && ending === undefined)
  const unheldRooms = unheld.map(({ room }) => room)
  const endings = await strippedStates(reading.stores.db, reading.requester.userId, unheldRooms, ['leave', 'ban'])
  const ofRoom = groupBy(accountData, (fact) => fact.room)
  const ownReceipts = plan.userFacts.filter((fact): fact is ReceiptFact => fact.kind === 'receipt')
  return new Map(
    tasks.map((task) => {
      const { room, facts } = task
      const found = facts === undefined ? (tables.get(room) ?? nothing) : { ...inputFromFacts(facts), hasMore: false }
      const after = states.get(room)
      return [
        room,
        {
          task,
          summary: undefined,
          ...found,
          states: found.states ?? (after === undefined ? undefined : { before: after, after }),
          receipts: [...found.receipts, ...ownReceipts.filter((fact) => fact.room === room && facts !== undefined)],
          accountData: ofRoom.get(room) ?? [],
          unheldEnding: endings.get(room),
          typing: task.section === 'join' && typing.has(room) ? deps.typing.users(room) : undefined,
        },
      ]
    }),
  )
}

type TableInput = Pick<RoomInput, 'events' | 'hasMore' | 'states' | 'receipts'> & { readonly summary?: ShownSummary }

const nothing: TableInput = { events: [], hasMore: false, states: undefined, receipts: [] }

async function readTables(
  deps: AnswerDeps,
  reading: Reading,
  tasks: readonly RoomTask[],
): Promise<Map<RoomNumber, TableInput>> {
  if (tasks.length === 0) return new Map()
  const { stores, requester } = reading
  const windows: RoomWindow[] = tasks.map(({ room, after, upTo }) => ({ room, after, upTo }))
  const joined = windows.filter((_window, i) => tasks[i]!.section === 'join')
  const unseen = tasks.filter(({ section, isNew }) => section === 'join' && (isNew || reading.fullState))
  const before = tasks.filter(({ isNew }) => !isNew).map(({ room, after }) => ({ room, position: after }))
  const [events, statesAfter, statesBefore, receipts, summaries] = await Promise.all([
    newestEvents(stores, windows, timelineLimit(reading)),
    statesAt(
      stores.db,
      windows.map(({ room, upTo }) => ({ room, position: upTo })),
    ),
    statesAt(stores.db, before),
    receiptsIn(stores.db, joined, requester.userId),
    deps.summaries.ofMany(
      unseen.map(({ room }) => room),
      requester.userId,
    ),
  ])
  const receiptsOf = groupBy(receipts, (fact) => fact.room)
  return new Map(
    tasks.map(({ room }) => [
      room,
      {
        events: events.get(room)?.events ?? [],
        hasMore: events.get(room)?.hasMore ?? false,
        states: statesOf(statesBefore.get(room), statesAfter.get(room)),
        receipts: receiptsOf.get(room) ?? [],
        summary: summaries.get(room),
      },
    ]),
  )
}

const statesOf = (before: StateReference | undefined, after: StateReference | undefined): RoomInput['states'] =>
  after === undefined ? undefined : { before, after }

function groupBy<K, V>(values: readonly V[], key: (value: V) => K): Map<K, V[]> {
  const groups = new Map<K, V[]>()
  for (const value of values) {
    const group = groups.get(key(value))
    if (group === undefined) groups.set(key(value), [value])
    else group.push(value)
  }
  return groups
}

function strippedTexts(
  { filter }: Reading,
  rooms: ReadonlyMap<RoomNumber, ViewedRoom>,
  stripped: ReadonlyMap<RoomNumber, string>,
  names: ReadonlyMap<RoomNumber, RoomName>,
  key: 'invite_state' | 'knock_state',
): [string, string][] {
  return [...rooms.keys()].flatMap((room) => {
    const name = names.get(room)
    if (name === undefined || !roomMatches(filter.room, name.roomId)) return []
    return [[name.roomId, `{"${key}":{"events":${arrayText(stripped.get(room))}}}`]]
  })
}

/** Stripped state comes from peers: whatever is stored must not break the answer. */
function arrayText(text: string | undefined): string {
  try {
    return text !== undefined && Array.isArray(JSON.parse(text)) ? text : '[]'
  } catch {
    return '[]'
  }
}

/** undefined when there is no room in it. */
function roomsText(
  sections: readonly (readonly [name: string, rooms: readonly [string, string][]])[],
): string | undefined {
  const filled = sections.filter(([, rooms]) => rooms.length > 0)
  if (filled.length === 0) return undefined
  const texts = filled.map(([name, rooms]) => {
    const entries = rooms.map(([roomId, text]) => `${JSON.stringify(roomId)}:${text}`)
    return `"${name}":{${entries.join(',')}}`
  })
  return `{${texts.join(',')}}`
}

// What belongs to no room

/** Of rooms that are new to the client all there is, of everything else what changed. */
async function accountDataOf({ stores, requester }: Reading, plan: Plan): Promise<readonly AccountDataFact[]> {
  const { now } = plan
  const start = 0 as Position
  if (!plan.inMemory) return changedSince(await accountDataIn(stores.db, requester.userId, start, now), plan)
  if (newRooms(plan).size === 0) return plan.userFacts.filter((fact) => fact.kind === 'account-data')
  return changedSince(await accountDataIn(stores.db, requester.userId, start, now), plan)
}

function changedSince(facts: readonly AccountDataFact[], plan: Plan): readonly AccountDataFact[] {
  const isNew = newRooms(plan)
  return facts.filter((fact) => fact.position > (plan.since ?? 0) || (fact.room !== 0 && isNew.has(fact.room)))
}

const newRooms = (plan: Plan): ReadonlySet<RoomNumber> =>
  new Set(plan.rooms.filter(({ isNew }) => isNew).map(({ room }) => room))

function globalAccountData({ filter, requester }: Reading, plan: Plan, facts: readonly AccountDataFact[]): string[] {
  const texts = accountDataTexts(
    filter.accountData,
    undefined,
    facts.filter((fact) => fact.room === 0),
  )
  const hasRules = facts.some((fact) => fact.room === 0 && fact.type === 'm.push_rules')
  if (plan.since !== undefined || hasRules) return texts
  if (!eventMatches(filter.accountData, { type: 'm.push_rules', content: {} })) return texts
  // Nothing is stored for who changed nothing, and clients wait for their rules.
  return [...texts, `{"type":"m.push_rules","content":${pushRulesContent(requester.userId)}}`]
}

async function messagesOf(reading: Reading, plan: Plan, since: Position): Promise<readonly WaitingMessage[]> {
  const { stores, requester } = reading
  if (!plan.inMemory || since < plan.since!) {
    return waitingMessages(stores.db, requester.device, since, plan.now, MAX_MESSAGES)
  }
  const messages = plan.userFacts.filter((fact) => fact.kind === 'to-device')
  return messages.filter((fact) => fact.device === requester.device && fact.position > since).slice(0, MAX_MESSAGES)
}

const messageText = ({ sender, type, content }: WaitingMessage): string =>
  `{"type":${JSON.stringify(type)},"sender":${JSON.stringify(sender)},"content":${content}}`

/** Clients take an absent algorithm for unknown or for none, as they please: the one in use is always named. */
const oneTimeKeysText = ({ oneTimeKeys }: KeyCounts): string => JSON.stringify({ signed_curve25519: 0, ...oneTimeKeys })
