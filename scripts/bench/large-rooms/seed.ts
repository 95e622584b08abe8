/**
 * Writes rooms of many members straight into a Hearth database, a million members in a few minutes, where joining over
 * the API would take hours. The rows are written by the statements of the server's log writer.
 *
 * The server runs meanwhile and learns nothing of it: the rooms' positions are taken out of the log first, then the
 * server is made to write something after them (`advanceLog`), so that what is filled in below is old to it, as if it had
 * been there at the start. The server has no answer in memory to a question about a room that was not there.
 */

import pg from 'pg'
import type { EventNumber, Position, RoomNumber, StateKeyNumber } from '../../../src/protocol/numbers.js'
import { rulesOf } from '../../../src/protocol/room-versions.js'
import type { SigningKey } from '../../../src/protocol/signing.js'
import { statements } from '../../../src/store/log-statements.js'
import { logLock } from '../../../src/store/log-tables.js'
import { concurrently } from '../concurrently.js'
import { UsageError } from '../target.js'
import { largeRoom, ROOM_EVENTS, type RoomPlan } from './room.js'

export interface Seeding {
  readonly databaseUrl: string
  readonly rooms: number
  readonly members: number
  readonly roomVersion: string
  /** By what the rooms are found again, beside the number of members. */
  readonly kind?: string
  /** Of the members but the first, in turn; otherwise they are the Hearth's. */
  readonly servers?: readonly string[]
  /** With which the events are signed, where other servers check them. */
  readonly signingKey?: SigningKey
  readonly signal: AbortSignal
  /** Makes the server write into its log, and waits for it. */
  advanceLog(): Promise<unknown>
  show(progress: string): void
}

/** One makes rows while the other waits for Postgres. */
const LANES = 2
/** The increment of the sequence `event_number`. */
const NUMBERS_A_BLOCK = 1_000

/**
 * The ids of `rooms` rooms of exactly `members` members when they were made: those that are there, and as many new ones as
 * are missing.
 * @throws UsageError for a database in which somebody else has an account
 */
export async function largeRooms(seeding: Seeding): Promise<string[]> {
  const clients = Array.from({ length: LANES }, () => new pg.Client({ connectionString: seeding.databaseUrl }))
  await Promise.all(clients.map((client) => client.connect()))
  try {
    return await new Seeder(seeding, clients).roomIds()
  } finally {
    await Promise.all(clients.map((client) => client.end()))
  }
}

class Seeder {
  readonly #keys = new Map<string, StateKeyNumber>()
  readonly #client: pg.Client

  constructor(
    readonly seeding: Seeding,
    readonly clients: readonly pg.Client[],
  ) {
    this.#client = clients[0]!
  }

  async roomIds(): Promise<string[]> {
    const { rooms, roomVersion } = this.seeding
    if (roomVersion !== '11' && roomVersion !== '12') throw new UsageError('--room-version: 11 or 12')
    await this.#checkDatabase()
    const { rows } = await this.#client.query<{ room_id: string }>(
      'select room_id from room join room_summary using (room) where topic = $1 and version = $2 order by room limit $3',
      [this.#topic, roomVersion, rooms],
    )
    const missing = rooms - rows.length
    return [...rows.map((row) => row.room_id), ...(missing > 0 ? await this.#seed(missing) : [])]
  }

  /** By this the rooms are found again. */
  get #topic(): string {
    return `${this.seeding.kind ?? 'A room of the bench'}, of ${this.seeding.members} members`
  }

  async #checkDatabase(): Promise<void> {
    const { rows } = await this.#client
      .query<{ user_id: string }>("select user_id from account where user_id not like '@bench-%' limit 1")
      .catch((cause: Error) => {
        throw new UsageError(`--database-url: not the database of a Hearth (${cause.message})`)
      })
    if (rows.length > 0) throw new UsageError(`--database-url: ${rows[0]!.user_id} lives there; give a bench database`)
  }

  async #seed(count: number): Promise<string[]> {
    const { members } = this.seeding
    const { rows } = await this.#client.query<{ server_name: string; state_identity_key: Buffer }>(
      'select server_name, state_identity_key from server',
    )
    const server = rows[0]!
    const events = ROOM_EVENTS + members - 1
    const first = await this.#reservePositions(count * events)
    await this.seeding.advanceLog()
    const serverOf = (member: number): string => {
      const servers = member === 0 ? [] : (this.seeding.servers ?? [])
      return servers[(member - 1) % servers.length] ?? server.server_name
    }
    const shared = usersOf('all', 0, Math.ceil(members / 2), serverOf)
    await this.#intern(this.#client, shared)
    await this.#internOthers()
    const free = [...this.clients]
    return concurrently(count, LANES, async (index) => {
      this.seeding.signal.throwIfAborted()
      this.seeding.show(`room ${index + 1} of ${count}`)
      const client = free.pop()!
      const { room, numbers } = await this.#identities(client, events)
      const own = usersOf(String(room), shared.length, members - shared.length, serverOf)
      await this.#intern(client, own)
      const place = { room, numbers, firstPosition: (first + index * events) as Position }
      const roomId = await this.#write(client, {
        ...place,
        ...this.#look(index),
        ...server,
        members: [...shared, ...own],
      })
      for (const user of own) this.#keys.delete(user)
      free.push(client)
      return roomId
    })
  }

  #look(index: number) {
    return { name: `Large room ${index + 1}`, topic: this.#topic }
  }

  async #write(
    client: pg.Client,
    plan: Pick<RoomPlan, 'room' | 'numbers' | 'firstPosition' | 'name' | 'topic' | 'members'> & {
      server_name: string
      state_identity_key: Buffer
    },
  ): Promise<string> {
    const { roomId, batch } = largeRoom({
      ...plan,
      version: this.seeding.roomVersion,
      rules: rulesOf(this.seeding.roomVersion)!,
      serverName: plan.server_name,
      identityKey: plan.state_identity_key,
      signingKey: this.seeding.signingKey,
      stateKey: (type, key) => this.#keys.get(type === 'm.room.member' ? key : type)!,
    })
    await client.query('begin')
    try {
      for (const statement of statements(batch, plan.server_name)) await client.query(statement)
      await client.query('commit')
    } catch (cause) {
      await client.query('rollback')
      throw cause
    }
    return roomId
  }

  /** The first of so many positions that nobody else will get. */
  async #reservePositions(count: number): Promise<number> {
    await this.#client.query('begin')
    try {
      await this.#client.query('select pg_advisory_xact_lock($1)', [logLock])
      const { rows } = await this.#client.query<{ last: string }>(
        "select setval('log_position', nextval('log_position') + $1) as last",
        [count],
      )
      return Number(rows[0]!.last) - count
    } finally {
      await this.#client.query('commit')
    }
  }

  async #identities(client: pg.Client, events: number): Promise<{ room: RoomNumber; numbers: EventNumber[] }> {
    const { rows } = await client.query<{ room: number }>("select nextval('room_number')::int as room")
    const blocks = await client.query<{ first: string }>(
      "select nextval('event_number') as first from generate_series(1, $1)",
      [Math.ceil(events / NUMBERS_A_BLOCK)],
    )
    const numbers = blocks.rows.flatMap(({ first }) =>
      Array.from({ length: NUMBERS_A_BLOCK }, (_, index) => (Number(first) + index) as EventNumber),
    )
    return { room: rows[0]!.room as RoomNumber, numbers: numbers.slice(0, events).sort((a, b) => a - b) }
  }

  /** Keys of members by their user ids. */
  async #intern(client: pg.Client, users: readonly string[]): Promise<void> {
    await client.query(
      `insert into state_key (state_key, type, key)
       select nextval('state_key_number'), 'm.room.member', convert_to(wanted, 'UTF8') from unnest($1::text[]) wanted
       order by wanted on conflict (type, key) do nothing`,
      [users],
    )
    const { rows } = await client.query<{ key: string; number: string }>(
      `select wanted as key, state_key as number from unnest($1::text[]) wanted
       join state_key on type = 'm.room.member' and key = convert_to(wanted, 'UTF8')`,
      [users],
    )
    for (const { key, number } of rows) this.#keys.set(key, Number(number) as StateKeyNumber)
  }

  /** The keys of what there is one of in a room, by their types. */
  async #internOthers(): Promise<void> {
    const names = ['create', 'power_levels', 'join_rules', 'history_visibility', 'name', 'topic']
    const types = names.map((name) => `m.room.${name}`)
    await this.#client.query(
      `insert into state_key (state_key, type, key)
       select nextval('state_key_number'), convert_to(wanted, 'UTF8'), '' from unnest($1::text[]) wanted
       on conflict (type, key) do nothing`,
      [types],
    )
    const { rows } = await this.#client.query<{ type: string; number: string }>(
      `select wanted as type, state_key as number from unnest($1::text[]) wanted
       join state_key on type = convert_to(wanted, 'UTF8') and key = ''`,
      [types],
    )
    for (const { type, number } of rows) this.#keys.set(type, Number(number) as StateKeyNumber)
  }
}

/** Half of a room's members are in all of the rooms, half in this one alone. They have no accounts. */
function usersOf(group: string, first: number, count: number, serverOf: (member: number) => string): string[] {
  return Array.from({ length: count }, (_, index) => `@bench-member-${group}-${index}:${serverOf(first + index)}`)
}
