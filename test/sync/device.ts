import { silentLogger } from '../../src/logger.js'
import type { Requester } from '../../src/accounts/requester.js'
import type { DeviceNumber } from '../../src/protocol/numbers.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import type { Presences } from '../../src/sync/presence.js'
import { Sync, type SyncRequest } from '../../src/sync/sync.js'
import { Typing } from '../../src/sync/typing.js'
import type { TestDatabase } from '../support/postgres.js'
import { user } from '../support/rooms.js'

export const epoch = '11111111-2222-3333-4444-555555555555'

export function testSync(
  { db }: TestDatabase,
  engine: RoomEngine,
  options: { epoch?: string; presences?: Presences } = {},
) {
  const typing = new Typing()
  const sync = new Sync({ db, ...engine, typing, presences: options.presences, epoch: options.epoch ?? epoch })
  return { sync, typing }
}

// Tests look into answers of every shape.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Answer = any

let nextDevice = 1000

/** A device that syncs, and knows where it was. */
export class TestDevice {
  readonly requester: Requester
  since: string | undefined

  constructor(
    public sync: Sync,
    name: string,
    device = nextDevice++,
  ) {
    this.requester = { userId: user(name), device: device as DeviceNumber, deviceId: `D${device}`, isAdmin: false }
  }

  /** One sync; the next one goes on from it. */
  async next(
    request: SyncRequest & { json?: object; signal?: AbortSignal; shuttingDown?: AbortSignal } = {},
  ): Promise<Answer> {
    const {
      json,
      signal = new AbortController().signal,
      shuttingDown = new AbortController().signal,
      ...rest
    } = request
    const filter = json === undefined ? rest.filter : JSON.stringify(json)
    const text = await this.sync.sync(this.requester, { since: this.since, ...rest, filter }, { signal, shuttingDown })
    const answer = JSON.parse(text) as { next_batch: string }
    this.since = answer.next_batch
    return answer
  }
}

/** The statements the pool is given from now on, but for those between processes about new positions. */
export function statementsOf({ pool }: TestDatabase): string[] {
  const statements: string[] = []
  pool.on('connect', (client) => {
    const query = client.query.bind(client) as (...args: unknown[]) => never
    client.query = (...args: unknown[]) => {
      const text = typeof args[0] === 'string' ? args[0] : (args[0] as { text: string }).text
      if (!/pg_notify|as newest|as listeners/.test(text)) statements.push(text)
      return query(...args)
    }
  })
  return statements
}

export const bodies = (room: Answer): string[] =>
  (room?.timeline.events ?? []).flatMap((event: Answer) =>
    event.type === 'm.room.message' ? [event.content.body] : [],
  )

export const logger = silentLogger
