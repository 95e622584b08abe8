import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { sql } from 'kysely'
import { silentLogger } from '../../src/logger.js'
import type { RoomNumber } from '../../src/protocol/numbers.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { signingKeyFromSeed } from '../../src/protocol/signing.js'
import { emptyHead } from '../../src/room/build-event.js'
import type { Draft } from '../../src/room/draft.js'
import { openRooms, type RoomEngine } from '../../src/room/open-rooms.js'
import { Room } from '../../src/room/room.js'
import { emptySummary } from '../../src/room/summary.js'
import { connectionConfig } from '../../src/store/database.js'
import type { RoomName } from '../../src/store/room-names.js'
import type { TestDatabase } from './postgres.js'

export const testServer = { name: 'hearth.test', key: signingKeyFromSeed('test', new Uint8Array(32).fill(7)) }
const identityKey = randomBytes(32)

/** The room engine on a test database, as one process has it. Two of them are two processes. */
export function testRooms(
  database: TestDatabase,
  options: { cacheMb?: number; pollInterval?: number } = {},
): Promise<RoomEngine> {
  return openRooms({
    db: database.db,
    connect: () => new pg.Client(connectionConfig(database.address)),
    server: testServer,
    identityKey,
    cacheMb: options.cacheMb ?? 64,
    logger: silentLogger,
    patience: 2_000,
    pollInterval: options.pollInterval ?? 60_000,
  })
}

export const user = (name: string): string => `@${name}:${testServer.name}`

/** A public room by the shortest way there is: create, the creator's join, power levels, join rules. */
export async function testRoom(
  engine: RoomEngine,
  creator: string,
  version = '11',
  more: readonly Draft[] = [],
): Promise<RoomName> {
  const rules = rulesOf(version)!
  const { rows } = await sql<{ room: RoomNumber }>`select nextval('room_number')::int as room`.execute(engine.stores.db)
  const number = rows[0]!.room
  const roomId = rules.roomIdIsCreateHash ? undefined : `!${randomBytes(9).toString('hex')}:${testServer.name}`
  const room = new Room(engine.rooms.deps, number, rules, roomId)
  room.begin({ head: emptyHead, summary: emptySummary, extremities: [], create: undefined })
  const create = { room_version: version, ...(rules.creatorInCreateContent ? { creator } : {}) }
  const levels = { users: rules.privilegedCreators ? {} : { [creator]: 100 }, users_default: 0 }
  await room.append(
    [
      { type: 'm.room.create', stateKey: '', sender: creator, content: create },
      { type: 'm.room.member', stateKey: creator, sender: creator, content: { membership: 'join' } },
      { type: 'm.room.power_levels', stateKey: '', sender: creator, content: levels },
      { type: 'm.room.join_rules', stateKey: '', sender: creator, content: { join_rule: 'public' } },
      ...more,
    ],
    undefined,
    { version },
  )
  engine.rooms.remember(room)
  return engine.stores.names.remember({ room: number, room_id: room.roomId!, version })
}

export const join = (engine: RoomEngine, room: RoomName, userId: string) =>
  engine.rooms.changeMembership(room, userId, userId, { membership: 'join' })

export const say = (engine: RoomEngine, room: RoomName, sender: string, body: string) =>
  engine.rooms.send(room, { type: 'm.room.message', sender, content: { msgtype: 'm.text', body } })
