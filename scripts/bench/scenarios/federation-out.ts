/**
 * `federation-out`: a member sends one message into a room with members on many other servers, scripted, and the clock runs
 * until all of them have it: over connections made for it, and over those that stand. Then a room with few of them, and
 * one with the same few and many that do not answer, which are to cost the living nothing. A room's members are written
 * into the database.
 *
 * With `--log-events`: how long it takes to find a destination's next transaction among so many events of other rooms.
 */

import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { compose } from '../../../src/federation/sender/compose.js'
import { CoalescedEdus } from '../../../src/federation/sender/coalesced-edus.js'
import { silentLogger } from '../../../src/logger.js'
import { openDatabase } from '../../../src/store/database.js'
import { takeDestinations } from '../../../src/store/destinations.js'
import { createStores } from '../../../src/store/stores.js'
import { ErrorLog } from '../errors.js'
import { DeadServers, Destinations } from '../federation/destinations.js'
import { Ground, type Hearth } from '../federation/ground.js'
import { PeakMemory } from '../federation/peak-memory.js'
import { cpuSecondsOf } from '../machine.js'
import { largeRooms } from '../large-rooms/seed.js'
import { createRoom, joinPath, sendPath, type Account } from '../matrix.js'
import type { Population } from '../population.js'
import type { Measured, Subject } from '../rounds.js'
import type { Bench, Column, Scenario } from '../scenario.js'
import { medianRatio, percentile, type Figures } from '../stats.js'

export interface FederationOutOptions {
  readonly servers: number
  /** Of the room with few that answer: how many do not. */
  readonly dead: number
  /** Of these, how many take a connection and say nothing; where the others are nobody listens. */
  readonly silent: number
  readonly logEvents: number
}

const WITHIN_MS = 120_000

const columns: Column[] = [
  { key: 'made', title: 'to all ms', digits: 0 },
  { key: 'kept', title: 'connections kept', digits: 0 },
  { key: 'known', title: 'known to be dead', digits: 0 },
  { key: 'growth', title: 'RSS growth MB', digits: 0 },
  { key: 'ratio', title: '÷ without dead', digits: 2 },
  { key: 'knownRatio', title: 'known ÷ without', digits: 2 },
  { key: 'serverMade', title: 'server µs/destination', digits: 0 },
  { key: 'postgresMade', title: 'Postgres µs', digits: 0 },
  { key: 'serverKept', title: 'kept: server µs', digits: 0 },
  { key: 'postgresKept', title: 'Postgres µs', digits: 0 },
  { key: 'next50', title: 'found p50 ms', digits: 1 },
  { key: 'next99', title: 'found p99 ms', digits: 1 },
]

export const federationOut: Scenario<FederationOutOptions> = {
  name: 'federation-out',
  columns,
  needsNoTarget: true,
  async prepare(bench) {
    const ground = await Ground.prepare()
    try {
      return await new Outbound(bench, ground, await ground.hearth('hearth')).subjects()
    } catch (cause) {
      await ground.close()
      throw cause
    }
  },
  compare,
}

const LIVING = 'living'

function compare(measured: Measured, all: readonly Measured[]): Figures {
  const living = all.find(({ target }) => target === LIVING)
  if (living === undefined || measured.target !== 'dead') return {}
  return {
    ratio: medianRatio(measured.rounds, living.rounds, 'made'),
    knownRatio: medianRatio(measured.rounds, living.rounds, 'known', 'made'),
  }
}

class Outbound {
  readonly population: Population

  constructor(
    readonly bench: Bench<FederationOutOptions>,
    readonly ground: Ground,
    readonly hearth: Hearth,
  ) {
    this.population = hearth.population(bench)
  }

  async subjects(): Promise<Subject[]> {
    const { servers, dead, silent, logEvents } = this.bench.options
    const destinations = await Destinations.listening(this.ground.authority, servers)
    const gone = await DeadServers.make(dead, { silent })
    const few = destinations.names.slice(0, Math.max(1, servers - dead))
    const [sender] = await this.population.accounts(1)
    const close = async () => {
      this.population.close()
      await destinations.close()
      await gone.close()
      await this.ground.close()
    }
    const sent = async (kind: string, names: readonly string[]) =>
      new Sent(
        this,
        destinations,
        sender!,
        await this.room(kind, [...names, ...(kind === 'dead' ? gone.names : [])]),
        names,
      )
    const everybody = await sent('all', destinations.names)
    const living = await sent(LIVING, few)
    const beside = await sent('dead', few)
    const subjects: Subject[] = [
      subject(`${servers} servers`, 'all', everybody, () => everybody.madeAndKept(), close),
      subject(`${few.length} servers`, LIVING, living, () => living.made()),
      subject(`${few.length} servers, ${dead} dead`, 'dead', beside, () => beside.besideDead(gone.names)),
    ]
    if (logEvents === 0) return subjects
    const log = new LongLog(this, sender!, await this.room('quiet', [destinations.names[0]!]), destinations.names[0]!)
    return [...subjects, await log.subject(logEvents, everybody.roomId)]
  }

  /** A public room with a member on each of the servers. */
  private async room(kind: string, servers: readonly string[]): Promise<string> {
    const { signal, progress, options } = this.bench
    const [account] = await this.population.accounts(1)
    const [roomId] = await largeRooms({
      databaseUrl: this.hearth.target.databaseUrl,
      rooms: 1,
      members: servers.length + 1,
      kind,
      servers,
      roomVersion: options.roomVersion,
      signal,
      advanceLog: () => createRoom(this.population.api, account!, options.roomVersion),
      show: (text) => progress.show(text),
    })
    return roomId!
  }
}

const subject = (
  name: string,
  target: string,
  sent: Sent,
  round: () => Promise<Figures>,
  close = async () => {},
): Subject => ({
  name,
  target,
  errors: sent.errors,
  warmUp: () => sent.begin(),
  round,
  close,
})

/** One room from which messages go out. */
class Sent {
  readonly errors = new ErrorLog()
  readonly #run = randomBytes(4).toString('hex')
  #sequence = 0

  constructor(
    readonly out: Outbound,
    readonly destinations: Destinations,
    readonly sender: Account,
    readonly roomId: string,
    /** Those that answer. */
    readonly names: readonly string[],
  ) {}

  /** The sender joins, which is the first that the others hear. */
  async begin(): Promise<void> {
    await this.out.population.api.call('POST', joinPath(this.roomId), this.sender.token, {})
    await this.send()
  }

  async made(): Promise<Figures> {
    this.destinations.dropConnections()
    const memory = new PeakMemory(this.out.hearth.target.pid)
    const { ms, server, postgres } = await this.costs(() => this.send())
    return { made: ms, growth: memory.growth(), serverMade: server, postgresMade: postgres }
  }

  async madeAndKept(): Promise<Figures> {
    const made = await this.made()
    const { ms, server, postgres } = await this.costs(() => this.send())
    return { ...made, kept: ms, serverKept: server, postgresKept: postgres }
  }

  /** With the µs of CPU time that each destination cost. */
  private async costs(task: () => Promise<number>): Promise<{ ms: number; server: number; postgres: number }> {
    const { hearth } = this.out
    const cpu = async () => [cpuSecondsOf(hearth.target.pid) ?? NaN, await hearth.postgresCpuSeconds()] as const
    const [server, postgres] = await cpu()
    const ms = await task()
    const after = await cpu()
    const each = (seconds: number) => (seconds * 1e6) / this.names.length
    return { ms, server: each(after[0] - server), postgres: each(after[1] - postgres) }
  }

  /** First they are as if they had died a moment ago, then their next attempt is due. */
  async besideDead(dead: readonly string[]): Promise<Figures> {
    const { hearth } = this.out
    await hearth.client.query('update destination set failures = 0, retry_ts = 0 where destination = any($1)', [dead])
    const figures = await this.made()
    await this.givenUp(dead, 1)
    await hearth.client.query('update destination set retry_ts = 0 where destination = any($1)', [dead])
    this.destinations.dropConnections()
    const known = await this.send()
    // Or the next that is measured has them at its side.
    await this.givenUp(dead, 2)
    return { ...figures, known }
  }

  private async givenUp(dead: readonly string[], failures: number): Promise<void> {
    const all = `select count(*) = $2 from destination where destination = any($1) and failures >= $3 and lease_holder is null`
    await this.out.hearth.until('giving up the dead', all, {
      values: [dead, dead.length, failures],
      ms: 600_000,
      every: 100,
    })
  }

  /** Milliseconds from the first byte of the request until all have the message. */
  private async send(): Promise<number> {
    const marker = `bench.${this.#run}.${this.#sequence++}.`
    const flight = this.destinations.expect(marker, this.names)
    const late = setTimeout(() => flight.giveUp(), WITHIN_MS)
    const path = sendPath(this.roomId, marker)
    await this.out.population.api.call('PUT', path, this.sender.token, { msgtype: 'm.text', body: marker })
    await flight.done
    clearTimeout(late)
    if (flight.missing > 0) this.errors.add(`${flight.missing} servers had no message after ${WITHIN_MS / 1_000} s`)
    const isClosed = 'select not exists (select from destination_room where destination = any($1))'
    await this.out.hearth.until('closing transactions', isClosed, { values: [this.names] })
    return flight.latencies.at(-1) ?? NaN
  }
}

/** How often the next transaction is looked for in a round. */
const LOOKS = 50

/** A destination in a database with many events that are not for it. */
class LongLog {
  constructor(
    readonly out: Outbound,
    readonly sender: Account,
    readonly roomId: string,
    readonly destination: string,
  ) {}

  async subject(events: number, otherRoom: string): Promise<Subject> {
    const { hearth } = this.out
    const database = openDatabase({ url: hearth.target.databaseUrl }, { max: 2, log: silentLogger })
    const record = await hearth.value<Buffer>('select state_identity_key from server')
    const stores = createStores(database.db, { cacheMb: 16, identityKey: record })
    const coalesced = new CoalescedEdus(Date.now)
    const deps = { db: database.db, stores, serverName: hearth.name, coalesced, now: Date.now }
    const holder = { holder: 'bench', lease: 60_000 }
    const errors = new ErrorLog()
    return {
      name: `among ${events.toLocaleString('en')} events`,
      errors,
      warmUp: () => this.#fill(events, otherRoom),
      round: async () => {
        await this.#wait()
        const times: number[] = []
        for (let look = 0; look < LOOKS; look++) {
          const began = performance.now()
          await takeDestinations(database.db, holder, [this.destination], Date.now() + 24 * 3_600_000)
          const transaction = (await compose(deps, [this.destination])).get(this.destination)
          times.push(performance.now() - began)
          if (transaction?.pdus !== 1) errors.add(`${transaction?.pdus ?? 0} PDUs were found, not one`)
        }
        await this.#go()
        return { next50: percentile(times, 0.5), next99: percentile(times, 0.99) }
      },
      close: () => database.close(),
    }
  }

  /** Copies of an event, as if they had gone out to the other servers of another room. */
  async #fill(count: number, otherRoom: string): Promise<void> {
    const { population, bench, hearth } = this.out
    await population.api.call('POST', joinPath(this.roomId), this.sender.token, {})
    bench.progress.show(`writing ${count} events`)
    const client = new pg.Client({ connectionString: hearth.target.databaseUrl })
    await client.connect()
    const { rows } = await client.query<{ column_name: string }>(
      "select column_name from information_schema.columns where table_name = 'event' and is_generated = 'NEVER'",
    )
    const columns = rows.map(({ column_name }) => column_name)
    const changed: Record<string, string> = {
      event: 'event.event + 1000000000 + i',
      event_id: "'$' || md5(i::text)",
      position: '$2::bigint + i',
      anchor: '$2::bigint + i',
      is_outgoing: 'true',
    }
    const { rows: last } = await client.query<{ last: string }>(
      "select setval('log_position', nextval('log_position') + $1) as last",
      [count],
    )
    await createRoom(population.api, this.sender, bench.options.roomVersion)
    await client.query(
      `insert into event (${columns.join(', ')})
       select ${columns.map((column) => changed[column] ?? `event.${column}`).join(', ')}
       from generate_series(1, $1::int) i, (
         select event.* from event join room using (room) where room_id = $3 and type = 'm.room.message'::bytea limit 1
       ) event`,
      [count, Number(last[0]!.last) - count, otherRoom],
    )
    await client.query('analyze')
    await client.end()
  }

  /** A message waits, and the Hearth leaves it alone. */
  async #wait(): Promise<void> {
    const { hearth, population } = this.out
    const later = Date.now() + 3_600_000
    await hearth.client.query('update destination set retry_ts = $2 where destination = $1', [this.destination, later])
    const path = sendPath(this.roomId, randomBytes(6).toString('hex'))
    await population.api.call('PUT', path, this.sender.token, { msgtype: 'm.text', body: 'waits' })
  }

  async #go(): Promise<void> {
    const { hearth } = this.out
    await hearth.client.query(
      'update destination set retry_ts = 0, lease_holder = null, lease_until_ts = 0 where destination = $1',
      [this.destination],
    )
    const isSent = 'select not exists (select from destination_room where destination = $1)'
    await hearth.until('sending what waited', isSent, { values: [this.destination] })
  }
}
