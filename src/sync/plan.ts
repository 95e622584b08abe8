/**
 * What a sync has to look at, taken from the user's view and the log at one moment and without waiting, so that all parts
 * of an answer speak of the same position.
 */
import type { Filter } from '../protocol/filter.js'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import type { Fact } from '../store/facts.js'
import type { Log } from '../store/log.js'
import type { UserView, ViewedRoom } from './user-view.js'

/** A room the user is, or was, joined to. */
export interface RoomTask {
  readonly room: RoomNumber
  readonly section: 'join' | 'leave'
  /** The client knows nothing of it: it gets the whole state and the newest events, however old. */
  readonly isNew: boolean
  /** 0 for a new room. */
  readonly after: Position
  readonly upTo: Position
  /** What happened in the window, when the log has it in memory and the room is not new. */
  readonly facts: readonly Fact[] | undefined
  /** Of a room that was left: the event by which its user is out of it now, which its user is told whatever else they may read. */
  readonly ending: EventNumber | undefined
  /** Of a room that was left and never joined: nothing but the ending is shown. */
  readonly onlyEnding: boolean
}

export interface Plan {
  readonly now: Position
  /** undefined: an initial sync. */
  readonly since: Position | undefined
  /** Everything after `since` is in memory. */
  readonly inMemory: boolean
  readonly rooms: readonly RoomTask[]
  readonly invites: ReadonlyMap<RoomNumber, ViewedRoom>
  readonly knocks: ReadonlyMap<RoomNumber, ViewedRoom>
  /** What was told to the user alone; empty unless it is all in memory. */
  readonly userFacts: readonly Fact[]
  readonly deviceLists: readonly Fact[]
}

export interface PlanOptions {
  readonly since: Position | undefined
  readonly fullState: boolean
  readonly filter: Filter
  /** Rooms with typing to be shown. */
  readonly typing: ReadonlySet<RoomNumber>
  /** Left rooms that an initial sync does not show. */
  readonly forgotten: ReadonlySet<RoomNumber>
}

/** `view` has its history from `since` on. */
export function planOf(view: UserView, log: Log, options: PlanOptions): Plan {
  const { since } = options
  const inMemory = since !== undefined && since >= log.horizon
  const rooms: RoomTask[] = []
  const invites = new Map<RoomNumber, ViewedRoom>()
  const knocks = new Map<RoomNumber, ViewedRoom>()
  const userFacts = inMemory ? log.ofUser(view.userId, since) : []
  for (const room of candidates(view, options, userFacts)) {
    const viewed = view.rooms.get(room)
    if (viewed === undefined) continue
    const isNews = since === undefined || viewed.position > since
    if (viewed.membership === 'join') {
      rooms.push(joinTask(log, room, viewed, since, inMemory))
    } else if (!isNews) {
      continue
    } else if (viewed.membership === 'invite') {
      if (!view.blocksInvites && !view.ignored.has(viewed.sender)) invites.set(room, viewed)
    } else if (viewed.membership === 'knock') {
      knocks.set(room, viewed)
    } else if (isShownLeave(options, room)) {
      const task = leaveTask(log, room, viewed, since, inMemory)
      if (task !== undefined) rooms.push(task)
    }
  }
  return {
    now: log.published,
    since,
    inMemory,
    rooms,
    invites,
    knocks,
    userFacts,
    deviceLists: inMemory ? log.deviceListChanges(since) : [],
  }
}

function candidates(
  view: UserView,
  { since, fullState, typing }: PlanOptions,
  userFacts: readonly Fact[],
): Iterable<RoomNumber> {
  if (since === undefined || fullState) return view.rooms.keys()
  const rooms = new Set(view.touchedSince(since))
  for (const room of typing) rooms.add(room)
  for (const fact of userFacts) if (fact.kind === 'account-data' && fact.room !== 0) rooms.add(fact.room)
  return rooms
}

const isShownLeave = ({ since, filter, forgotten }: PlanOptions, room: RoomNumber): boolean =>
  since !== undefined || (filter.room.includeLeave && !forgotten.has(room))

const start = 0 as Position

function joinTask(
  log: Log,
  room: RoomNumber,
  viewed: ViewedRoom,
  since: Position | undefined,
  inMemory: boolean,
): RoomTask {
  const isNew = since === undefined || viewed.position > since
  return {
    room,
    section: 'join',
    isNew,
    after: isNew ? start : since,
    upTo: log.published,
    facts: isNew || !inMemory ? undefined : log.ofRoom(room, since),
    ending: undefined,
    onlyEnding: false,
  }
}

/** Shown up to the end of the last time the user was joined. undefined: an initial sync of a room they never were in. */
function leaveTask(
  log: Log,
  room: RoomNumber,
  viewed: ViewedRoom,
  since: Position | undefined,
  inMemory: boolean,
): RoomTask | undefined {
  const joined = viewed.past.findLast(({ membership, to }) => membership === 'join' && to > (since ?? 0))
  if (joined === undefined && since === undefined) return undefined
  const isNew = since === undefined || joined === undefined || joined.from > since
  const upTo = (joined?.to ?? viewed.position) as Position
  return {
    room,
    section: 'leave',
    isNew,
    after: isNew ? start : since,
    upTo,
    facts: isNew || !inMemory ? undefined : log.ofRoom(room, since).filter((fact) => fact.position <= upTo),
    ending: viewed.event,
    onlyEnding: joined === undefined,
  }
}
