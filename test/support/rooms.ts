import { randomBytes } from 'node:crypto'
import { sql } from 'kysely'
import { silentLogger } from '../../src/logger.js'
import type { JsonObject } from '../../src/protocol/json.js'
import type { RoomNumber } from '../../src/protocol/numbers.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { type SigningKey, signingKeyFromSeed } from '../../src/protocol/signing.js'
import { emptyHead } from '../../src/room/build-event.js'
import type { Draft } from '../../src/room/draft.js'
import { openRooms, type RoomEngine, type RoomEngineOptions } from '../../src/room/open-rooms.js'
import { Room } from '../../src/room/room.js'
import { emptySummary } from '../../src/room/summary.js'
import { ownConnection } from '../../src/store/database.js'
import type { RoomName } from '../../src/store/room-names.js'
import type { TestDatabase } from './postgres.js'

export const testServer = { name: 'hearth.test', key: signingKeyFromSeed('test', new Uint8Array(32).fill(7)) }
const identityKey = randomBytes(32)

export interface TestRoomsOptions {
  readonly cacheMb?: number
  readonly pollInterval?: number
  /** How long the database may be away, in ms. */
  readonly patience?: number
  readonly isAlone?: boolean
  readonly resolutionLimits?: RoomEngineOptions['resolutionLimits']
  /** Another server than `testServer`: it wants a database of its own. */
  readonly server?: { readonly name: string; readonly key: SigningKey }
  readonly opaqueId?: RoomEngineOptions['opaqueId']
  readonly now?: RoomEngineOptions['now']
}

/** The room engine on a test database, as one process has it. Two of them are two processes. */
export function testRooms(
  database: Pick<TestDatabase, 'db' | 'address'>,
  options: TestRoomsOptions = {},
): Promise<RoomEngine> {
  return openRooms({
    db: database.db,
    connect: () => ownConnection(database.address),
    server: options.server ?? testServer,
    identityKey,
    cacheMb: options.cacheMb ?? 64,
    logger: silentLogger,
    patience: options.patience ?? 2_000,
    pollInterval: options.pollInterval ?? 60_000,
    isAlone: options.isAlone,
    resolutionLimits: options.resolutionLimits,
    opaqueId: options.opaqueId,
    now: options.now,
  })
}

export const user = (name: string): string => `@${name}:${testServer.name}`

export interface TestRoomOptions {
  /** Of versions in which it does not follow from the create event. */
  readonly roomId?: string
  /** `origin_server_ts` of the first events. */
  readonly at?: number
  /** Beside what the version requires, in the content of `m.room.create`. */
  readonly create?: JsonObject
  /** The content of `m.room.power_levels`. */
  readonly levels?: JsonObject
}

/** A public room by the shortest way there is: create, the creator's join, power levels, join rules. */
export async function testRoom(
  engine: RoomEngine,
  creator: string,
  version = '11',
  more: readonly Draft[] = [],
  options: TestRoomOptions = {},
): Promise<RoomName> {
  const rules = rulesOf(version)!
  const { rows } = await sql<{ room: RoomNumber }>`select nextval('room_number')::int as room`.execute(engine.stores.db)
  const number = rows[0]!.room
  const named = options.roomId ?? `!${randomBytes(9).toString('hex')}:${engine.rooms.deps.server.name}`
  const roomId = rules.roomIdIsCreateHash ? undefined : named
  const room = new Room(engine.rooms.deps, number, rules, roomId)
  room.begin({ head: emptyHead, summary: emptySummary, extremities: [], create: undefined })
  const create = { room_version: version, ...(rules.creatorInCreateContent ? { creator } : {}), ...options.create }
  const levels = options.levels ?? { users: rules.privilegedCreators ? {} : { [creator]: 100 }, users_default: 0 }
  const first: readonly Draft[] = [
    { type: 'm.room.create', stateKey: '', sender: creator, content: create },
    { type: 'm.room.member', stateKey: creator, sender: creator, content: { membership: 'join' } },
    { type: 'm.room.power_levels', stateKey: '', sender: creator, content: levels },
    { type: 'm.room.join_rules', stateKey: '', sender: creator, content: { join_rule: 'public' } },
  ]
  await room.append([...first.map((draft) => ({ ...draft, originServerTs: options.at })), ...more], undefined, {
    version,
  })
  engine.rooms.remember(room)
  return engine.stores.names.remember({ room: number, room_id: room.roomId!, version })
}

export const join = (engine: RoomEngine, room: RoomName, userId: string) =>
  engine.rooms.changeMembership(room, userId, userId, { membership: 'join' })

export const say = (engine: RoomEngine, room: RoomName, sender: string, body: string) =>
  engine.rooms.send(room, { type: 'm.room.message', sender, content: { msgtype: 'm.text', body } })
