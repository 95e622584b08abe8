/**
 * The log with what belongs to it in one process: the writer, and the ear for other processes on the same database.
 *
 * After a commit one coalesced NOTIFY with the newest position goes out from a separate connection; inside the writing
 * transaction it would serialise commits. A notification that is lost costs a poll interval, never a fact.
 */
import { sql, type Kysely } from 'kysely'
import type pg from 'pg'
import type { Position } from '../protocol/numbers.js'
import type { DeviceTables } from './devices.js'
import { Log } from './log.js'
import { factsBetween, newestPosition, settledPosition } from './log-reader.js'
import type { LogTables } from './log-tables.js'
import { LogWriter, type LogWriterOptions } from './log-writer.js'
import { countOfProcesses, newProcessName } from './processes.js'
import type { Stores } from './stores.js'

export interface OpenLog {
  readonly log: Log
  readonly writer: LogWriter
  /** Of this process (processes.ts). */
  readonly processName: string
  /** Reads what other processes wrote, now. */
  catchUp(): Promise<void>
  close(): Promise<void>
}

export interface LogOptions {
  readonly serverName: string
  readonly db: Kysely<LogTables & DeviceTables>
  readonly stores: Stores
  /** A new connection to the same database: the writer and the ear have one each. */
  readonly connect: () => pg.Client
  readonly logger: LogWriterOptions['logger']
  /** How long the database may be away before what waits for it is refused, in ms. */
  readonly patience?: number
  /** How often the log is looked at without a notification, in ms. */
  readonly pollInterval?: number
  /** Who knows that no other process is on this database spares the first polls their notifications. */
  readonly isAlone?: boolean
}

const channel = 'hearth_log'
/** The backend that serves a connection, as notifications name their sender. */
const pidOf = (client: pg.Client): number | undefined => (client as { processID?: number }).processID
/** Notifications are sent at most so often, in ms: each is a transaction of its own. */
const notifyInterval = 10

export async function openLog(options: LogOptions): Promise<OpenLog> {
  const { db, stores, logger } = options
  const log = new Log(await settledPosition(db), stores.memory.ringBytes)
  const writer = new LogWriter({
    serverName: options.serverName,
    connect: options.connect,
    log,
    factsBetween: (after, upTo) => factsBetween(db, stores.events, after, upTo),
    newestPosition: () => newestPosition(db),
    settledPosition: () => settledPosition(db),
    readJudgedAnew: (room) => stores.events.readJudgedAnew(room),
    onCommit: (newest) => {
      if (!ear.isAlone) notifier.tell(newest)
    },
    logger,
    patience: options.patience,
  })
  const notifier = new Notifier(db, logger)
  const processName = newProcessName()
  const ear: Ear = new Ear(options, writer, processName)
  await ear.listen()
  return {
    log,
    writer,
    processName,
    catchUp: () => writer.catchUp(),
    async close() {
      await ear.close()
      await writer.close()
      await notifier.close()
    },
  }
}

/** Tells other processes of the newest position; while one notification is under way, only the newest is kept. */
class Notifier {
  private newest: Position | undefined
  private running: Promise<void> | undefined

  constructor(
    private readonly db: Kysely<LogTables>,
    private readonly logger: LogWriterOptions['logger'],
  ) {}

  tell(newest: Position): void {
    this.newest = newest
    this.running ??= this.run()
  }

  private async run(): Promise<void> {
    while (this.newest !== undefined) {
      const newest = this.newest
      this.newest = undefined
      await sql`select pg_notify(${channel}, ${String(newest)})`
        .execute(this.db)
        .catch((cause: unknown) => this.logger.warn({ err: cause }, 'other processes were not told of new positions'))
      await new Promise((resolve) => setTimeout(resolve, notifyInterval))
    }
    this.running = undefined
  }

  async close(): Promise<void> {
    await this.running
  }
}

/** Hears of positions other processes wrote, and looks by itself now and then. */
class Ear {
  private client: pg.Client | undefined
  private timer: NodeJS.Timeout | undefined
  private closed = false
  private catchingUp = false
  private wanted = false

  constructor(
    private readonly options: LogOptions,
    private readonly writer: LogWriter,
    private readonly processName: string,
  ) {
    this.isAlone = options.isAlone ?? false
  }

  /**
   * Whether no other process listens on this database: then nobody has to be notified. Looked at with every poll, and
   * not believed once another has been heard, as it is when it begins.
   */
  isAlone: boolean

  async listen(): Promise<void> {
    const client = this.options.connect()
    client.on('notification', ({ processId }) => {
      if (processId !== pidOf(client)) this.isAlone = false
      this.hear()
    })
    client.on('error', () => this.lose(client))
    try {
      await client.connect()
      this.client = client
      await client.query(`set application_name = '${this.processName}'; listen ${channel}; notify ${channel}`)
    } catch (cause) {
      this.lose(client)
      throw cause
    }
    this.schedule()
  }

  /** Looking at the newest position is one statement; a run of notifications costs two looks at most. */
  private hear(): void {
    this.wanted = true
    if (this.catchingUp) return
    this.catchingUp = true
    void this.catchUp()
  }

  private async catchUp(): Promise<void> {
    try {
      while (this.wanted && !this.closed) {
        this.wanted = false
        await this.writer.catchUp()
      }
    } catch (cause) {
      this.options.logger.warn({ err: cause }, 'could not read what other processes wrote; trying again')
    } finally {
      this.catchingUp = false
    }
  }

  private async lookAround(): Promise<void> {
    try {
      const { rows } = await sql<{ listeners: number }>`
        select ${countOfProcesses} as listeners
      `.execute(this.options.db)
      // While we do not listen ourselves, the one is another.
      this.isAlone = this.client !== undefined && rows[0]?.listeners === 1
    } catch {
      this.isAlone = false
    }
  }

  private schedule(): void {
    if (this.closed) return
    this.timer = setTimeout(() => {
      this.hear()
      void this.lookAround()
      if (this.client === undefined) void this.listen().catch(() => this.schedule())
      else this.schedule()
    }, this.options.pollInterval ?? 2_000)
  }

  private lose(client: pg.Client): void {
    if (this.client === client) this.client = undefined
    client.end().catch(() => undefined)
  }

  async close(): Promise<void> {
    this.closed = true
    clearTimeout(this.timer)
    await this.client?.end().catch(() => undefined)
  }
}
