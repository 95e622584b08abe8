/** What the parts of receiving EDUs share. https://spec.matrix.org/v1.19/server-server-api/#edus */
import type { Kysely } from 'kysely'
import type { DeviceLists } from '../../accounts/device-lists.js'
import { isRoomId, isUserId, serverNameOf } from '../../protocol/identifiers.js'
import { ownString, type JsonObject } from '../../protocol/json.js'
import type { Entrances } from '../../room/inbound/entrances.js'
import { isKnown, type KnownRoom } from '../../room/known-room.js'
import type { Rooms } from '../../room/rooms.js'
import type { ServerAcls } from '../../room/server-acls.js'
import type { WaitingReceipts } from '../../room/waiting-receipts.js'
import type { LogWriter } from '../../store/log-writer.js'
import type { Stores } from '../../store/stores.js'
import type { Tables } from '../../store/tables.js'
import type { Presences } from '../../sync/presence.js'
import type { Typing } from '../../sync/typing.js'
import type { EduCounters } from './counters.js'

export interface EduDeps {
  readonly db: Kysely<Tables>
  readonly stores: Stores
  readonly rooms: Rooms
  readonly acls: Pick<ServerAcls, 'allows'>
  readonly writer: Pick<LogWriter, 'write'>
  readonly entrances: Pick<Entrances, 'ended'>
  readonly receipts: Pick<WaitingReceipts, 'take'>
  readonly typing: Pick<Typing, 'set'>
  /** undefined: there is no presence here. */
  readonly presences?: Pick<Presences, 'hear' | 'isKnown'> | undefined
  readonly deviceLists: Pick<DeviceLists, 'changed'>
  /** This server's name. */
  readonly serverName: string
  readonly logger: {
    info(fields: object, message: string): void
    error(fields: object, message: string): void
  }
  /** In ms. */
  readonly now: () => number
}

/** One EDU of a server whose signature was verified. */
export interface Edu {
  readonly origin: string
  readonly content: JsonObject
  /** What all EDUs of a transaction together may still cost. */
  readonly left: { receipts: number; messageBytes: number; presences: number }
  readonly counters: EduCounters
  /** With rooms that are being entered. */
  readonly patience: AbortSignal
}

/** Takes an EDU, or counts why not. It may be of any shape. */
export type EduHandler = (deps: EduDeps, edu: Edu) => Promise<void>

/** The user a key names, if they are of the server that speaks of them. */
export function userOf(origin: string, content: JsonObject, key: string): string | undefined {
  const userId = ownString(content, key)
  return userId !== undefined && isUserOf(origin, userId) ? userId : undefined
}

export const isUserOf = (serverName: string, userId: string): boolean =>
  serverNameOf(userId) === serverName && isUserId(userId)

/** A room this server holds, when it has come in, and whose ACL allows the other. */
export async function openRoom(
  { stores, acls, entrances }: EduDeps,
  edu: Edu,
  roomId: string,
): Promise<KnownRoom | undefined> {
  await entrances.ended(roomId, edu.patience)
  const name = isRoomId(roomId) ? await stores.names.find(roomId) : undefined
  if (name === undefined || !isKnown(name)) {
    edu.counters.countDropped('room unknown')
    return undefined
  }
  if (await acls.allows(name, edu.origin)) return name
  edu.counters.countDropped('denied by server ACL')
  return undefined
}
