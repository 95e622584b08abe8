/**
 * Who is typing, in the memory of this process. Each change of a room's set has a number; a sync token says up to which
 * number, of which process, its client has been told. A token of another process, or one from before what is still
 * known, gets all that is known.
 * https://spec.matrix.org/v1.19/client-server-api/#typing-notifications
 */
import type { RoomNumber } from '../protocol/numbers.js'
import type { Fact } from '../store/facts.js'
import { EphemeralOrder } from './ephemeral-order.js'

/** Clients ask for 30 seconds; longer ones are cut, so that somebody whose client died does not type for ever. */
const MAX_TIMEOUT = 120_000
/** Changes that are kept to be told to those who were away a moment. */
const MAX_CHANGES = 10_000

interface Change {
  readonly count: number
  readonly room: RoomNumber
}

export class Typing {
  /** Users by room, with when they stop, in ms. */
  private readonly rooms = new Map<RoomNumber, Map<string, number>>()
  private changes: Change[] = []
  /** Changes up to this number are no longer known. */
  private forgotten = 0
  private timer: NodeJS.Timeout | undefined
  private readonly listeners: ((room: RoomNumber) => void)[] = []
  private readonly watchers: ((room: RoomNumber, user: string, isTyping: boolean) => void)[] = []

  constructor(
    private readonly now: () => number = Date.now,
    readonly order = new EphemeralOrder(),
  ) {}

  subscribe(listener: (room: RoomNumber) => void): void {
    this.listeners.push(listener)
  }

  /** Told of each user who begins, says again that they are at it, or ends. */
  watch(watcher: (room: RoomNumber, user: string, isTyping: boolean) => void): void {
    this.watchers.push(watcher)
  }

  /** The user types for that long, in ms, unless they stop before. Whether they may is for the caller to know. */
  start(room: RoomNumber, user: string, timeout: number): void {
    let users = this.rooms.get(room)
    if (users === undefined) this.rooms.set(room, (users = new Map()))
    const isNew = !users.has(user)
    users.set(user, this.now() + Math.min(Math.max(timeout, 0), MAX_TIMEOUT))
    if (isNew) this.changed(room)
    for (const watcher of this.watchers) watcher(room, user, true)
    this.schedule()
  }

  stop(room: RoomNumber, user: string): void {
    if (this.remove(room, user)) this.changed(room)
  }

  /** Called for every fact in the order of the log. Who is no longer in a room types no more in it. */
  follow(fact: Fact): void {
    if (fact.kind === 'membership' && fact.membership !== 'join') this.stop(fact.room, fact.user)
  }

  /** `timeout` in ms, or 'stop'. */
  set(room: RoomNumber, user: string, timeout: number | 'stop'): void {
    if (timeout === 'stop') this.stop(room, user)
    else this.start(room, user, timeout)
  }

  users(room: RoomNumber): readonly string[] {
    return Array.from(this.rooms.get(room)?.keys() ?? [])
  }

  /** Rooms whose set changed after what a token says; all in which somebody types when the token says nothing to us. */
  changedSince(process: string, count: number): ReadonlySet<RoomNumber> {
    const { order } = this
    if (process !== order.process || count < this.forgotten || count > order.count) return new Set(this.rooms.keys())
    if (count === order.count) return nothing
    const rooms = new Set<RoomNumber>()
    for (let i = this.changes.length - 1; i >= 0 && this.changes[i]!.count > count; i--)
      rooms.add(this.changes[i]!.room)
    return rooms
  }

  close(): void {
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private remove(room: RoomNumber, user: string): boolean {
    const users = this.rooms.get(room)
    if (users?.delete(user) !== true) return false
    if (users.size === 0) this.rooms.delete(room)
    for (const watcher of this.watchers) watcher(room, user, false)
    return true
  }

  private changed(room: RoomNumber): void {
    this.changes.push({ count: this.order.next(), room })
    if (this.changes.length > MAX_CHANGES) {
      const dropped = this.changes.splice(0, MAX_CHANGES / 2)
      this.forgotten = dropped.at(-1)!.count
    }
    for (const listener of this.listeners) listener(room)
  }

  /** One timer, for whoever stops first. */
  private schedule(): void {
    clearTimeout(this.timer)
    let next = Infinity
    for (const users of this.rooms.values()) for (const until of users.values()) next = Math.min(next, until)
    if (next === Infinity) return
    this.timer = setTimeout(() => this.expire(), Math.max(1, next - this.now()))
    this.timer.unref()
  }

  private expire(): void {
    const now = this.now()
    for (const [room, users] of [...this.rooms]) {
      const expired = [...users].filter(([, until]) => until <= now)
      for (const [user] of expired) this.remove(room, user)
      if (expired.length > 0) this.changed(room)
    }
    this.schedule()
  }
}

const nothing: ReadonlySet<RoomNumber> = new Set()
