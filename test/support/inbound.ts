/** Laboratory rooms in the engine, and the inbound side of a server among scripted ones. */
import { type Logger, silentLogger } from '../../src/logger.js'
import { Inbound, type InboundConfig } from '../../src/room/inbound/inbound.js'
import type { Peers } from '../../src/room/inbound/peers.js'
import type { KnownRoom } from '../../src/room/known-room.js'
import type { RoomEngine } from '../../src/room/open-rooms.js'
import type { TestDatabase } from './postgres.js'
import type { Branch, LabEvent } from './laboratory/index.js'
import { testServer } from './rooms.js'

/** A user of the server under test. */
export const mia = `@mia:${testServer.name}`

export const arrivalOf = ({ event, text }: LabEvent) => ({ event, text, kind: 'live' as const })

/** Makes the room here, with these of its events. */
export async function holdRoom(engine: RoomEngine, room: Branch, events = room.events): Promise<KnownRoom> {
  const [create, ...others] = events
  const name = await engine.rooms.adopt(arrivalOf(create!), room.rules.version)
  await receive(engine, name as KnownRoom, others)
  return name as KnownRoom
}

export async function receive(engine: RoomEngine, name: KnownRoom, events: readonly LabEvent[]): Promise<void> {
  const results = await engine.rooms.receiveAll(name, events.map(arrivalOf))
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

/** A clock that only moves when it is told to, for attempts that come later. */
export class TestClock {
  private ms = Date.now()
  readonly now = () => this.ms
  pass(ms: number): void {
    this.ms += ms
  }
}

export function testInbound(
  database: Pick<TestDatabase, 'db'>,
  engine: RoomEngine,
  peers: Peers,
  options: { readonly clock?: TestClock; readonly config?: Partial<InboundConfig>; readonly logger?: Logger } = {},
): Inbound {
  return new Inbound({
    db: database.db,
    stores: engine.stores,
    rooms: engine.rooms,
    acls: engine.acls,
    peers,
    serverName: testServer.name,
    logger: options.logger ?? silentLogger,
    now: options.clock?.now,
    config: options.config,
  })
}

/** What was tried in vain is tried again, until nothing is under way. */
export async function tryAgain(inbound: Inbound, clock: TestClock): Promise<void> {
  clock.pass(4_000_000)
  await inbound.poll()
  await inbound.settled()
}

/** What the database has of a room: fates by event id, extremities, and what is staged. */
export async function held(database: Pick<TestDatabase, 'db'>, { room, roomId }: KnownRoom) {
  const { db } = database
  const events = await db.selectFrom('event').selectAll().where('room', '=', room).execute()
  const head = await db.selectFrom('room').selectAll().where('room', '=', room).executeTakeFirstOrThrow()
  const staged = await db.selectFrom('staged_pdu').selectAll().where('room_id', '=', roomId).orderBy('staged').execute()
  const byNumber = new Map(events.map((row) => [row.event, row.event_id]))
  return {
    events: new Map(events.map((row) => [row.event_id, row])),
    fates: new Map(events.map((row) => [row.event_id, (['accepted', 'soft-failed', 'rejected'] as const)[row.fate]])),
    extremities: head.forward_extremities.map((number) => byNumber.get(number)!).sort(),
    staged,
  }
}
