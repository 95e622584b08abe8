/**
 * Who is there, in the memory of this process: of our users by what their devices do, of those of other servers by what
 * these say. Everything ends by itself; after a restart everybody is away until their client comes back.
 * https://spec.matrix.org/v1.19/client-server-api/#presence
 *
 * A device says with each sync, or by itself, whether its user is there, and that counts until it should have come back. The
 * user is as their most present device is, and idle when they have done nothing for a while. What changed is told
 * after a moment, and of one user only so often, so that whoever comes and goes all the time is told as they are in the end.
 */
import type { DeviceNumber } from '../protocol/numbers.js'

export type PresenceState = 'online' | 'unavailable' | 'offline'

export interface Presence {
  readonly presence: PresenceState
  readonly statusMsg: string | undefined
  /** In ms; undefined while they were never seen. */
  readonly lastActiveTs: number | undefined
  /** While it is, `lastActiveTs` is not told anew. */
  readonly currentlyActive: boolean
}

/** How long a device may stay away between two syncs, in ms. */
const GRACE = 30_000
/** The longest that a sync waits, in ms. */
const LONGEST_SYNC = 90_000
/** "if their last active time was over a threshold value (e.g. 5 minutes)" */
const IDLE_AFTER = 5 * 60_000
/** "a `last_active_ago` within the last few minutes" */
const ACTIVE_FOR = 3 * 60_000
/** What another server says counts so long, in ms. Servers say it again before. */
const SAID_LASTS = 35 * 60_000
/** How often servers are told that somebody is still there, in ms. Some take them for away after half an hour. */
const SAY_AGAIN = 20 * 60_000
/** Of one user something is told so often at most, in ms; other servers, of which there may be thousands, hear less. */
const TOLD_EVERY = 5_000
const SAID_EVERY = 30_000
/** What changes within a moment is told together, in ms. */
const GATHER = 500
/** How often it is looked whose time is over, in ms. */
const LOOK_EVERY = 5_000
/** Of all users. Those who have been away longest go first. */
const MAX_USERS = 50_000
/** Who was there before a restart, and is not back after so long, in ms, is told to be away. */
const COME_BACK = 60_000

/** In UTF-16 units. */
export const MAX_STATUS_MSG = 256

interface Known {
  readonly userId: string
  /** Of a user of ours: what each of their devices said last. */
  readonly devices: Map<DeviceNumber, { presence: PresenceState; until: number }>
  /** Of a user of another server: what it said last. */
  said: (Presence & { readonly until: number }) | undefined
  statusMsg: string | undefined
  lastActiveTs: number | undefined
  /** What those who see the user have been told, when. */
  told: Presence
  toldAt: number
  /** When servers were told last. */
  saidAt: number
  /** To be told although nothing changed: there are others who see them now. */
  tellAnyway: boolean
  /** Before this it is not told that they are away. */
  awayFrom: number
  /** Before this nothing changes by itself. */
  dueAt: number
}

const away: Presence = { presence: 'offline', statusMsg: undefined, lastActiveTs: undefined, currentlyActive: false }

export class Presences {
  private readonly users = new Map<string, Known>()
  private readonly there = new Set<Known>()
  /** Who has been away longest comes first. */
  private readonly gone = new Set<Known>()
  /** Those of whom there is something to tell, and those of ours of whom other servers do not know it yet. */
  private readonly changed = new Set<Known>()
  private readonly unsaid = new Set<Known>()
  private gathering: NodeJS.Timeout | undefined
  private looking: NodeJS.Timeout | undefined
  private readonly listeners: ((userIds: readonly string[]) => void)[] = []
  private readonly watchers: ((userIds: readonly string[]) => void)[] = []
  private readonly forgetters: ((userId: string) => void)[] = []

  constructor(readonly now: () => number = Date.now) {}

  /** Told of users whose presence is another than was told before. */
  subscribe(listener: (userIds: readonly string[]) => void): void {
    this.listeners.push(listener)
  }

  /** Told of users of ours whose presence other servers should be told, also again. */
  watch(watcher: (userIds: readonly string[]) => void): void {
    this.watchers.push(watcher)
  }

  /** Told of users of whom nothing is known any more. */
  onForgotten(forgetter: (userId: string) => void): void {
    this.forgetters.push(forgetter)
  }

  isKnown(userId: string): boolean {
    return this.users.has(userId)
  }

  isThere(userId: string): boolean {
    const known = this.users.get(userId)
    return known !== undefined && this.there.has(known)
  }

  of(userId: string): Presence {
    const known = this.users.get(userId)
    return known === undefined ? away : this.stateOf(known)
  }

  /** A device syncs, and waits so long, in ms. A client that says nothing of it is there; one that says `online` means its user. */
  syncing(userId: string, device: DeviceNumber, said: PresenceState | undefined, timeout: number): void {
    // "then the client is not marked as being online when it uses this API"
    if (said === 'offline') return
    const known = this.known(userId)
    const wait = Math.min(Math.max(timeout, 0), LONGEST_SYNC)
    if (said === 'online' || known.devices.size === 0) known.lastActiveTs = this.now()
    this.note(known, device, said ?? 'online', wait)
  }

  /** A user says what they are, by one of their devices. */
  set(userId: string, device: DeviceNumber, presence: PresenceState, statusMsg: string | undefined): void {
    const known = this.known(userId)
    known.statusMsg = statusMsg
    known.lastActiveTs = this.now()
    if (presence === 'offline') known.devices.delete(device)
    else this.note(known, device, presence, 0)
    this.look(known)
  }

  /** "Any activity that bumps the last active time on any of the user's clients", of those who do not hide. */
  active(userId: string): void {
    const known = this.users.get(userId)
    if (known === undefined || known.devices.size === 0) return
    known.lastActiveTs = this.now()
    if (known.told.currentlyActive && !this.changed.has(known)) return
    for (const device of known.devices.values()) device.presence = 'online'
    this.look(known)
  }

  /** What a server says of one of its users. */
  hear(userId: string, said: Presence): void {
    const known = this.known(userId)
    known.said = { ...said, until: this.now() + SAID_LASTS }
    this.look(known)
  }

  /** These were there before a restart: clients are told that they are away, unless they come back. */
  recall(users: readonly { readonly userId: string; readonly lastSeenTs: number }[]): void {
    for (const { userId, lastSeenTs } of users) {
      const known = this.known(userId)
      known.lastActiveTs ??= lastSeenTs
      known.awayFrom = this.now() + COME_BACK
      this.tellAgain(userId)
    }
  }

  /** Others see the user since. */
  tellAgain(userId: string): void {
    const known = this.users.get(userId)
    if (known === undefined) return
    known.tellAnyway = true
    this.changed.add(known)
    this.gather()
  }

  /** What is due by the clock. Timers call it; whoever moves the clock may. */
  tick(): void {
    this.lookAtAll()
    this.tell()
  }

  close(): void {
    clearTimeout(this.gathering)
    clearInterval(this.looking)
    this.gathering = this.looking = undefined
    this.changed.clear()
    this.unsaid.clear()
  }

  private known(userId: string): Known {
    const found = this.users.get(userId)
    if (found !== undefined) return found
    if (this.users.size >= MAX_USERS) this.forget()
    const known: Known = {
      userId,
      devices: new Map(),
      said: undefined,
      statusMsg: undefined,
      lastActiveTs: undefined,
      told: away,
      toldAt: -Infinity,
      saidAt: -Infinity,
      tellAnyway: false,
      awayFrom: -Infinity,
      dueAt: Infinity,
    }
    this.users.set(userId, known)
    this.gone.add(known)
    return known
  }

  private forget(): void {
    const oldest = (this.gone.values().next().value ?? this.there.values().next().value)!
    this.users.delete(oldest.userId)
    this.gone.delete(oldest)
    this.there.delete(oldest)
    this.changed.delete(oldest)
    this.unsaid.delete(oldest)
    for (const forgetter of this.forgetters) forgetter(oldest.userId)
  }

  private note(known: Known, device: DeviceNumber, presence: PresenceState, wait: number): void {
    const until = this.now() + wait + GRACE
    const noted = known.devices.get(device)
    if (noted === undefined) known.devices.set(device, { presence, until })
    else {
      noted.presence = presence
      noted.until = Math.max(noted.until, until)
    }
    this.look(known)
  }

  private stateOf({ devices, said, statusMsg, lastActiveTs }: Known): Presence {
    if (said !== undefined) return said
    const idle = this.now() - (lastActiveTs ?? -Infinity)
    const presence = presenceOf(devices.values(), idle < IDLE_AFTER)
    return { presence, statusMsg, lastActiveTs, currentlyActive: presence === 'online' && idle < ACTIVE_FOR }
  }

  /** Looks whether there is something to tell of a user. */
  private look(known: Known): void {
    const state = this.stateOf(known)
    known.dueAt = this.dueOf(known, state)
    if (state.presence === 'offline') this.leave(known)
    else this.enter(known)
    if (isSame(state, known.told)) return
    this.changed.add(known)
    this.gather()
  }

  private dueOf({ devices, said }: Known, { presence, lastActiveTs = -Infinity, currentlyActive }: Presence): number {
    if (said !== undefined) return said.until
    let due = presence === 'online' ? lastActiveTs + (currentlyActive ? ACTIVE_FOR : IDLE_AFTER) : Infinity
    for (const { until } of devices.values()) due = Math.min(due, until)
    return due
  }

  private enter(known: Known): void {
    if (!this.gone.delete(known)) return
    this.there.add(known)
    this.looking ??= setInterval(() => this.lookAtAll(), LOOK_EVERY).unref()
  }

  private leave(known: Known): void {
    if (!this.there.delete(known)) return
    this.gone.add(known)
    if (this.there.size > 0) return
    clearInterval(this.looking)
    this.looking = undefined
  }

  private lookAtAll(): void {
    const now = this.now()
    for (const known of this.there) {
      if (known.dueAt <= now) this.lookAgain(known, now)
      if (this.watchers.length > 0 && this.isToBeSaidAgain(known, now)) this.unsaid.add(known)
    }
    this.say()
  }

  private isToBeSaidAgain(known: Known, now: number): boolean {
    return known.said === undefined && now - known.saidAt >= SAY_AGAIN && !this.changed.has(known)
  }

  private lookAgain(known: Known, now: number): void {
    for (const [device, { until }] of known.devices) if (until <= now) known.devices.delete(device)
    if (known.said !== undefined) known.said = { ...known.said, presence: 'offline', currentlyActive: false }
    this.look(known)
  }

  private gather(): void {
    this.gathering ??= setTimeout(() => {
      this.gathering = undefined
      this.tell()
    }, GATHER).unref()
  }

  private tell(): void {
    const now = this.now()
    const news: string[] = []
    for (const known of this.changed) {
      const state = this.stateOf(known)
      const isEarly = now - known.toldAt < TOLD_EVERY || (state.presence === 'offline' && now < known.awayFrom)
      if (isEarly) continue
      this.changed.delete(known)
      if (isSame(state, known.told) && !known.tellAnyway) continue
      Object.assign(known, { told: state, toldAt: now, tellAnyway: false })
      news.push(known.userId)
      if (known.said === undefined) this.unsaid.add(known)
    }
    if (news.length > 0) for (const listener of this.listeners) listener(news)
    this.say()
    if (this.changed.size + this.unsaid.size > 0) this.gather()
  }

  private say(): void {
    if (this.watchers.length === 0) return this.unsaid.clear()
    const now = this.now()
    const userIds: string[] = []
    for (const known of this.unsaid) {
      if (now - known.saidAt < SAID_EVERY) continue
      this.unsaid.delete(known)
      known.saidAt = now
      userIds.push(known.userId)
    }
    if (userIds.length > 0) for (const watcher of this.watchers) watcher(userIds)
  }
}

function presenceOf(devices: Iterable<{ presence: PresenceState }>, isActive: boolean): PresenceState {
  let presence: PresenceState = 'offline'
  for (const device of devices) {
    if (device.presence === 'online' && isActive) return 'online'
    presence = 'unavailable'
  }
  return presence
}

/** When somebody was active last is told with something else. */
const isSame = (one: Presence, other: Presence): boolean =>
  one.presence === other.presence && one.statusMsg === other.statusMsg && one.currentlyActive === other.currentlyActive

/** As content of `m.presence`, and what it says of a user in an EDU. */
export function presenceContent(presence: Presence, now: number) {
  const { statusMsg, lastActiveTs } = presence
  return {
    presence: presence.presence,
    ...(lastActiveTs === undefined ? {} : { last_active_ago: Math.max(0, now - lastActiveTs) }),
    ...(presence.presence === 'online' ? { currently_active: presence.currentlyActive } : {}),
    ...(statusMsg === undefined ? {} : { status_msg: statusMsg }),
  }
}
