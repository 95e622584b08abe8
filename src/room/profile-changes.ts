/**
 * Tells rooms of new display names and avatars: a change of either becomes a new `m.room.member` event in every room the
 * user is joined to. https://spec.matrix.org/v1.19/client-server-api/#events-on-change-of-profile-information
 *
 * The profile's row says which version of it was changed last and which one all rooms have been told of
 * (src/store/profiles.ts). Telling is idempotent: it sends what the profile is, and a room that has it already gets
 * nothing. So whatever a process that died has left undone is done again by any other (src/workers/left-over.ts).
 */
import type { Kysely } from 'kysely'
import { membershipIn, requireJoined, type Rooms } from './rooms.js'
import type { JsonObject } from '../protocol/json.js'
import { MatrixError } from '../protocol/matrix-error.js'
import { membershipsOf } from '../store/memberships.js'
import { noteTold, profileVersion, type Profile } from '../store/profiles.js'
import type { RoomName } from '../store/room-names.js'
import type { Tables } from '../store/tables.js'
import { isUnavailable } from '../store/unavailable.js'

export interface ProfileChangesDeps {
  readonly db: Kysely<Tables>
  readonly rooms: Rooms
  readonly logger: { error(fields: object, message: string): void }
}

/** Who waits for the answer waits for so many rooms; the others are told after it. */
const ROOMS_BEFORE_THE_ANSWER = 50
/** Rooms told at the same time. */
const AT_A_TIME = 8

export class ProfileChanges {
  /** One at a time for each user, so that a room ends up with the newest. */
  private readonly running = new Map<string, Promise<void>>()

  private closing = false

  constructor(private readonly deps: ProfileChangesDeps) {}

  /**
   * After the commit of a change. Resolves when the rooms have been told, or at once when they are many. Never rejects:
   * the change itself is durable, and rooms that were not told are told later.
   */
  async tell(userId: string): Promise<void> {
    const telling = this.start(userId)
    const joined = await this.joinedRooms(userId).catch(() => [])
    if (joined.length <= ROOMS_BEFORE_THE_ANSWER) await telling
  }

  /** Stops telling after the rooms in hand; the rest is left over for another start, or another process. */
  async close(): Promise<void> {
    this.closing = true
    await this.settled()
  }

  /** Resolves when nothing is being told. */
  async settled(): Promise<void> {
    while (this.running.size > 0) await Promise.all(this.running.values())
  }

  private start(userId: string): Promise<void> {
    const before = this.running.get(userId) ?? Promise.resolve()
    const telling: Promise<void> = before
      .then(() => this.tellNewest(userId))
      .catch((cause: unknown) => this.deps.logger.error({ err: cause, user_id: userId }, 'could not tell of a profile'))
      .finally(() => {
        if (this.running.get(userId) === telling) this.running.delete(userId)
      })
    this.running.set(userId, telling)
    return telling
  }

  /** What another process changed meanwhile, and told before us, is told again: ours may have come last to some room. */
  private async tellNewest(userId: string): Promise<void> {
    let told = await profileVersion(this.deps.db, userId)
    if (told === undefined || told.isTold) return
    for (;;) {
      await this.tellRooms(userId, told.profile)
      if (this.closing) return
      await noteTold(this.deps.db, userId, told.version)
      const now = await profileVersion(this.deps.db, userId)
      if (now === undefined || now.version === told.version) return
      told = now
    }
  }

  private async tellRooms(userId: string, profile: Profile): Promise<void> {
    const rooms = await this.joinedRooms(userId)
    for (let i = 0; i < rooms.length && !this.closing; i += AT_A_TIME) {
      await Promise.all(rooms.slice(i, i + AT_A_TIME).map((room) => this.tellRoom(room, userId, profile)))
    }
  }

  private async joinedRooms(userId: string): Promise<RoomName[]> {
    const { rooms, db } = this.deps
    const joined = (await membershipsOf(db, userId)).filter(({ membership }) => membership === 'join')
    return [...(await rooms.deps.stores.names.names(joined.map(({ room }) => room))).values()]
  }

  /** A room that refuses, since the user has left it meanwhile or may not send, or in which something is broken, fails alone. */
  private async tellRoom(name: RoomName, userId: string, profile: Profile): Promise<void> {
    const { rooms, logger } = this.deps
    try {
      const current = await rooms.currentState(name, 'm.room.member', userId)
      if (current === undefined) return
      const content = memberContent(current.event.content, profile)
      await rooms.send(name, { type: 'm.room.member', stateKey: userId, sender: userId, content }, undefined, (state) =>
        requireJoined(membershipIn(state, userId)),
      )
    } catch (cause) {
      if (isUnavailable(cause)) throw cause
      if (cause instanceof MatrixError) return
      logger.error({ err: cause, room_id: name.roomId, user_id: userId }, 'could not tell a room of a profile')
    }
  }
}

/** What the member event said stays, but for what was about the join itself. */
function memberContent(before: JsonObject, { displayname, avatar_url }: Profile): JsonObject {
  const kept = Object.entries(before).filter(([key]) => !replacedKeys.has(key))
  return {
    ...Object.fromEntries(kept),
    membership: 'join',
    ...(displayname !== undefined && { displayname }),
    ...(avatar_url !== undefined && { avatar_url }),
  }
}

const replacedKeys: ReadonlySet<string> = new Set([
  'membership',
  'displayname',
  'avatar_url',
  'reason',
  'join_authorised_via_users_server',
  'third_party_invite',
])
