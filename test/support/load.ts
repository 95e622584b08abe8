import { randomBytes } from 'node:crypto'
import type { TestUser } from './test-user.js'

/** Clients as people have them: they write and read, and go on when the server is away for a while. */

export interface Message {
  readonly roomId: string
  readonly eventId: string
  readonly sender: string
  readonly body: string
}

const RETRY_MS = 30
/** What has not been answered by then is asked again, as clients do. */
const PATIENCE_MS = 15_000

/** Asks until the server answers with 200. Throws on a refusal, which no repetition changes. */
export async function persistently(
  user: TestUser,
  method: string,
  path: string,
  body?: unknown,
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
): Promise<any> {
  for (;;) {
    const answer = await user
      .request(method, path, body, { signal: AbortSignal.timeout(PATIENCE_MS) })
      .catch(() => undefined)
    if (answer?.status === 200) return answer.body
    if (answer !== undefined && answer.status < 500) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS))
  }
}

/** Writes into its rooms in turn, one message after another, each until it is acknowledged. */
export class Writer {
  readonly acknowledged: Message[] = []

  constructor(
    readonly user: TestUser,
    readonly rooms: readonly string[],
    private readonly onAcknowledged: (message: Message) => void = () => {},
  ) {}

  async run(stop: AbortSignal): Promise<void> {
    for (let i = 0; !stop.aborted; i++) {
      const roomId = this.rooms[i % this.rooms.length]!
      const body = `${this.user.userId} says ${i}`
      const path = `${roomPath(roomId)}/send/m.room.message/${randomBytes(8).toString('hex')}`
      const { event_id: eventId } = await persistently(this.user, 'PUT', path, { msgtype: 'm.text', body })
      const message = { roomId, eventId, sender: this.user.userId, body }
      this.acknowledged.push(message)
      this.onAcknowledged(message)
    }
  }
}

/** Follows `/sync` from token to token. Where a timeline has a gap it asks for what is in it, as clients do. */
export class Reader {
  /** Every message there was in a timeline, in its order. */
  readonly seen: Message[] = []
  since: string | undefined
  /** How many answers held a message. */
  answers = 0

  /** `user` may be another for each request: the same device at another process. */
  constructor(private readonly user: () => TestUser) {}

  async begin(): Promise<void> {
    this.since = (await this.next(0)).next_batch
  }

  async run(stop: AbortSignal): Promise<void> {
    while (!stop.aborted) await this.step(200)
  }

  async step(timeout: number): Promise<void> {
    const since = this.since
    const { next_batch: next, rooms } = await this.next(timeout)
    const before = this.seen.length
    for (const [roomId, { timeline }] of Object.entries<AnswerRoom>(rooms?.join ?? {})) {
      const gap = timeline.limited ? await this.between(roomId, timeline.prev_batch, since!) : []
      this.seen.push(...messagesIn(roomId, [...gap, ...timeline.events]))
    }
    if (this.seen.length > before) this.answers++
    this.since = next
  }

  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  private next(timeout: number): Promise<any> {
    const filter = JSON.stringify({ room: { timeline: { limit: 50 } } })
    const query = new URLSearchParams({ filter, timeout: String(timeout), ...(this.since && { since: this.since }) })
    return persistently(this.user(), 'GET', `/_matrix/client/v3/sync?${query}`)
  }

  private async between(roomId: string, from: string, to: string): Promise<RoomEvent[]> {
    const found: RoomEvent[] = []
    for (let at: string | undefined = from; at !== undefined;) {
      const query = new URLSearchParams({ dir: 'b', from: at, to, limit: '500' })
      const page = await persistently(this.user(), 'GET', `${roomPath(roomId)}/messages?${query}`)
      found.push(...page.chunk)
      at = page.chunk.length === 0 ? undefined : page.end
    }
    return found.reverse()
  }
}

/** All messages of a room by `/messages`, from the first on. */
export async function messagesOf(user: TestUser, roomId: string): Promise<Message[]> {
  const found: Message[] = []
  for (let from: string | undefined = ''; from !== undefined;) {
    const query = new URLSearchParams({ dir: 'f', limit: '500', ...(from && { from }) })
    const page = await persistently(user, 'GET', `${roomPath(roomId)}/messages?${query}`)
    found.push(...messagesIn(roomId, page.chunk))
    from = page.end
  }
  return found
}

interface RoomEvent {
  readonly type: string
  readonly event_id: string
  readonly sender: string
  readonly content: { readonly body: string }
}

interface AnswerRoom {
  readonly timeline: { readonly limited: boolean; readonly prev_batch: string; readonly events: readonly RoomEvent[] }
}

const messagesIn = (roomId: string, events: readonly RoomEvent[]): Message[] =>
  events
    .filter(({ type }) => type === 'm.room.message')
    .map((event) => ({ roomId, eventId: event.event_id, sender: event.sender, body: event.content.body }))

const roomPath = (roomId: string) => `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}`

/** Clients that write under load, and what became of it. */
export class Load {
  readonly acknowledged: Message[] = []
  readonly #stop = new AbortController()
  readonly #running: Promise<unknown>
  readonly #waiting: { count: number; resolve: () => void }[] = []

  constructor(writers: readonly (readonly [user: TestUser, rooms: readonly string[]])[]) {
    const all = writers.map(([user, rooms]) => new Writer(user, rooms, (message) => this.#acknowledge(message)))
    this.#running = Promise.all(all.map((writer) => writer.run(this.#stop.signal)))
    this.#running.catch(() => {}) // thrown by `stop`
  }

  /** Resolves once so many more messages are acknowledged. */
  async more(count: number): Promise<void> {
    const reached = new Promise<void>((resolve) =>
      this.#waiting.push({ count: this.acknowledged.length + count, resolve }),
    )
    await Promise.race([reached, this.#running])
  }

  /** Nothing new is begun; resolves when what was begun is acknowledged. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  #acknowledge(message: Message): void {
    this.acknowledged.push(message)
    const reached = this.#waiting.filter(({ count }) => count <= this.acknowledged.length)
    for (const one of reached) {
      this.#waiting.splice(this.#waiting.indexOf(one), 1)
      one.resolve()
    }
  }
}

/** By room and sender, the messages in their order: what both ends must agree on. */
export function byRoomAndSender(messages: readonly Message[]): Record<string, string[]> {
  const found: Record<string, string[]> = {}
  for (const { roomId, sender, eventId, body } of messages) {
    ;(found[`${roomId} ${sender}`] ??= []).push(`${eventId} ${body}`)
  }
  return found
}

export const inRoom = (messages: readonly Message[], roomId: string): string[] =>
  messages.filter((message) => message.roomId === roomId).map(({ eventId }) => eventId)

/** Numbers in [0, 1), the same for a seed. (mulberry32) */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
