import { randomBytes } from 'node:crypto'
import type { Kysely } from 'kysely'
import type pg from 'pg'
import { encodeBase64Url } from '../protocol/base64.js'
import type { SigningKey } from '../protocol/signing.js'
import type { EventFact, Fact, StateChangeFact } from '../store/facts.js'
import type { Log } from '../store/log.js'
import type { LogWriter, LogWriterOptions } from '../store/log-writer.js'
import { openLog } from '../store/open-log.js'
import { createStores, type Stores } from '../store/stores.js'
import type { Tables } from '../store/tables.js'
import { Turns } from '../store/turns.js'
import type { OwnServer } from './build-event.js'
import { Gate } from './gate.js'
import { OwnSignatures } from './own-signatures.js'
import type { ResolutionLimits } from './resolution/limits.js'
import { Resolutions } from './resolution/resolutions.js'
import { RoomPreviews } from './room-previews.js'
import { Rooms } from './rooms.js'
import { ServerAcls } from './server-acls.js'

/** The log and the rooms on it: everything that reads and writes events. */
export interface RoomEngine {
  readonly stores: Stores
  readonly log: Log
  readonly writer: LogWriter
  readonly rooms: Rooms
  readonly gate: Gate
  readonly acls: ServerAcls
  readonly previews: RoomPreviews
  /** As the database knows this process. */
  readonly processName: string
  /** Reads what other processes wrote, now. */
  catchUp(): Promise<void>
  /** Waits for what was handed to the log writer. */
  close(): Promise<void>
}

export interface RoomEngineOptions {
  readonly db: Kysely<Tables>
  readonly connect: () => pg.Client
  readonly server: { readonly name: string; readonly key: SigningKey }
  readonly identityKey: Uint8Array
  readonly cacheMb: number
  readonly logger: LogWriterOptions['logger']
  readonly now?: () => number
  readonly patience?: number
  readonly pollInterval?: number
  readonly isAlone?: boolean
  /** Of a resolution at its first attempt. */
  readonly resolutionLimits?: ResolutionLimits
  /** Random by default. */
  readonly opaqueId?: OwnServer['opaqueId']
}

/** Of a state that becomes whole there is no event. */
const movesHead = (fact: Fact): fact is EventFact | StateChangeFact =>
  fact.kind === 'event' || fact.kind === 'state-change'

const randomId = (): string => encodeBase64Url(randomBytes(18))

export async function openRooms(options: RoomEngineOptions): Promise<RoomEngine> {
  const { db, connect, logger, server, patience, pollInterval, isAlone } = options
  const stores = createStores(db, options)
  const { log, writer, processName, catchUp, close } = await openLog({
    serverName: server.name,
    db,
    stores,
    connect,
    logger,
    patience,
    pollInterval,
    isAlone,
  })
  const resolutions = new Resolutions(stores, options.resolutionLimits)
  const signatures = new OwnSignatures(server.key)
  const rooms = new Rooms({
    stores,
    writer,
    turns: new Turns(),
    resolutions,
    server: { name: server.name, signatures, opaqueId: options.opaqueId ?? randomId },
    now: options.now ?? Date.now,
  })
  // Heads follow the log before anybody else hears of new facts: this listener is the first.
  log.subscribe((facts, origin) => {
    if (origin === 'elsewhere') rooms.invalidate(facts.flatMap((fact) => (movesHead(fact) ? [fact.room] : [])))
    rooms.partial.follow(facts)
  })
  const closeAll = async () => {
    await close()
    await Promise.all([resolutions.close(), signatures.close()])
  }
  const [gate, acls] = [new Gate(stores, rooms), new ServerAcls(rooms)]
  const previews = new RoomPreviews(stores, rooms, acls)
  return { stores, log, writer, rooms, gate, acls, previews, processName, catchUp, close: closeAll }
}
