/**
 * EDUs of local users on their way to other servers. To-device messages and changes of devices are rows before whoever
 * made them is answered; typing, receipts and presence wait in memory (coalesced-edus.ts).
 */
import type { Kysely } from 'kysely'
import { canonicalJson } from '../../protocol/canonical-json.js'
import { serverNameOf } from '../../protocol/identifiers.js'
import type { JsonObject } from '../../protocol/json.js'
import type { RoomNumber } from '../../protocol/numbers.js'
import { parseExactJson } from '../../protocol/strict-json.js'
import type { Rooms } from '../../room/rooms.js'
import { deviceKeysOf } from '../../store/device-keys.js'
import { deviceListStreamId, untoldDevices, type DeviceUpdate } from '../../store/device-list-stream.js'
import type { Fact } from '../../store/facts.js'
import { putEdus, type OutboxEdu } from '../../store/federation-outbox.js'
import { RoomServers, serversWith } from '../../store/room-servers.js'
import type { RoomName } from '../../store/room-names.js'
import type { Tables } from '../../store/tables.js'
import type { Presence, Presences } from '../../sync/presence.js'
import type { FederationSender } from './sender.js'

export interface OutgoingEdusOptions {
  readonly db: Kysely<Tables>
  readonly rooms: Rooms
  readonly serverName: string
  readonly sender: FederationSender
  readonly logger: { error(fields: object, message: string): void }
  readonly now?: () => number
}

export class OutgoingEdus {
  private readonly servers: RoomServers
  private readonly working = new Set<Promise<void>>()

  constructor(private readonly options: OutgoingEdusOptions) {
    this.servers = new RoomServers(options.db, options.serverName)
  }

  /** Facts in the order of the log; `origin` as the log says it. */
  follow(facts: readonly Fact[], origin: 'here' | 'elsewhere'): void {
    for (const fact of facts) {
      this.servers.follow(fact)
      if (origin === 'elsewhere' || !('user' in fact) || !this.isOurs(fact.user)) continue
      if (fact.kind === 'receipt' && fact.type === 'm.read') this.inBackground(() => this.receipt(fact))
      if (fact.kind === 'membership' && fact.membership === 'join') {
        this.inBackground(() => this.introduce(fact.room, fact.user))
      }
    }
  }

  /** A local user begins, goes on, or ends typing. Others are passed over. */
  typing(room: RoomNumber, userId: string, isTyping: boolean): void {
    if (this.isOurs(userId)) this.inBackground(() => this.tellTyping(room, userId, isTyping))
  }

  /** Local users are there or not, or say something of it. Those who share a room hear of it with what is sent next. */
  presence(presences: Pick<Presences, 'of'>, userIds: readonly string[]): void {
    for (const userId of userIds) this.inBackground(() => this.tellPresence(userId, presences.of(userId)))
  }

  /** EDUs were put into the outbox for these. */
  wake(destinations: Iterable<string>): void {
    for (const name of new Set(destinations)) this.options.sender.wakeIfAwake(name)
  }

  /** Devices of these users, or their keys, have changed. Resolves when that cannot be lost. */
  async deviceListsChanged(userIds: Iterable<string>): Promise<void> {
    for (const userId of userIds) if (this.isOurs(userId)) await this.deviceListChanged(userId)
  }

  /** Until what was begun is done. */
  async settled(): Promise<void> {
    while (this.working.size > 0) await Promise.all(this.working)
  }

  private isOurs(userId: string): boolean {
    return serverNameOf(userId) === this.options.serverName
  }

  private nowTs(): number {
    return (this.options.now ?? Date.now)()
  }

  /** What may be lost is not waited for. */
  private inBackground(task: () => Promise<void>): void {
    const work = task()
      .catch((cause: unknown) => this.options.logger.error({ err: cause }, 'an EDU was not sent'))
      .finally(() => this.working.delete(work))
    this.working.add(work)
  }

  private async put(edus: readonly OutboxEdu[]): Promise<void> {
    await putEdus(this.options.db, edus, this.nowTs())
    this.wake(edus.map(({ destination }) => destination))
  }

  /** Servers to tell of something that may be lost: those of a room that is shared, without those that do not answer. */
  private async awakeIn(room: RoomNumber): Promise<{ name: RoomName; servers: readonly string[] } | undefined> {
    const { rooms, sender } = this.options
    const name = (await rooms.deps.stores.names.names([room])).get(room)
    if (name?.rules === undefined || (await rooms.head(name)).head.isShared !== true) return undefined
    const servers = await this.servers.of(room)
    return { name, servers: servers.filter((server) => !sender.isResting(server)) }
  }

  private async tellTyping(room: RoomNumber, userId: string, isTyping: boolean): Promise<void> {
    const { name, servers = [] } = (await this.awakeIn(room)) ?? {}
    const { sender } = this.options
    for (const server of servers) sender.coalesced.typing(server, { roomId: name!.roomId, userId, isTyping })
    this.wake(servers)
  }

  /** It goes with what is sent next, or with the next poll: many come at once when a room is busy. */
  private async receipt({ room, user, eventId, threadId, ts }: Extract<Fact, { kind: 'receipt' }>): Promise<void> {
    const { name, servers = [] } = (await this.awakeIn(room)) ?? {}
    const receipt = { roomId: name?.roomId ?? '', userId: user, eventId, threadId, ts }
    for (const server of servers) this.options.sender.coalesced.receipt(server, receipt)
  }

  private async tellPresence(userId: string, presence: Presence): Promise<void> {
    const { db, sender } = this.options
    for (const server of await serversWith(db, userId)) {
      if (!sender.isResting(server)) sender.coalesced.presence(server, userId, presence)
    }
  }

  private async deviceListChanged(userId: string): Promise<void> {
    const { db } = this.options
    const destinations = await db.transaction().execute(async (trx) => {
      const updates = await untoldDevices(trx, userId)
      const servers = updates.length === 0 ? [] : await serversWith(trx, userId)
      await putEdus(
        trx,
        servers.flatMap((server) => updates.map((update) => deviceEdu(server, userId, update))),
        this.nowTs(),
      )
      return servers
    })
    this.wake(destinations)
  }

  /**
   * A user came into a room: servers there that shared none with them before know nothing of their devices. They are
   * told the newest number without one before it, which is to ask for the list.
   */
  private async introduce(room: RoomNumber, userId: string): Promise<void> {
    const { db } = this.options
    if ((await this.awakeIn(room)) === undefined) return
    const servers = await serversWith(db, userId, room)
    if (servers.length === 0) return
    const streamId = await deviceListStreamId(db, userId)
    const devices = (await deviceKeysOf(db, [userId])).get(userId) ?? []
    if (streamId === 0) return
    const updates = devices.map((device) => ({ deviceId: device.deviceId, streamId, device }))
    await this.put(servers.flatMap((server) => updates.map((update) => deviceEdu(server, userId, update, []))))
  }
}

/** Of one device the newest is enough: a server that misses a number asks for the list. */
function deviceEdu(
  destination: string,
  userId: string,
  { deviceId, streamId, device }: DeviceUpdate,
  prevId: readonly number[] = streamId === 1 ? [] : [streamId - 1],
): OutboxEdu {
  const content: JsonObject = {
    user_id: userId,
    device_id: deviceId,
    stream_id: streamId,
    prev_id: prevId,
    ...(device === undefined
      ? { deleted: true }
      : { keys: parseExactJson(device.body), device_display_name: device.displayName }),
  }
  return { destination, key: `device ${userId} ${deviceId}`, edu: eduText('m.device_list_update', content) }
}

const eduText = (edu_type: string, content: JsonObject): string => canonicalJson({ edu_type, content }, 'any')
