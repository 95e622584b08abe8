/**
 * What is told of a room to who could join it, or look into it, without being in it: its summary and, of a space, the
 * rooms in it. Never an event of its timeline: those are the gate's (gate.ts).
 * https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 */
import { LRUCache } from 'lru-cache'
import { own } from '../protocol/json.js'
import type { RoomNumber, StateReference } from '../protocol/numbers.js'
import { isServerInvited } from '../store/memberships.js'
import { isServerIn } from '../store/room-servers.js'
import { stateEventsOfType } from '../store/state-events.js'
import type { StoredEvent } from '../store/stored-event.js'
import type { Stores } from '../store/stores.js'
import type { Reader } from './gate.js'
import type { KnownRoom } from './known-room.js'
import { allowedRooms, isRestricted } from './restricted-join.js'
import { roomChunk, type RoomPreview } from './room-chunk.js'
import { residentRoom } from './room-for-server.js'
import type { Rooms } from './rooms.js'
import type { ServerAcls } from './server-acls.js'
import { inOrder, isChild, type SpaceChild } from './space-child.js'

/** A room of a hierarchy: only a space has children. */
export interface SpaceRoom extends RoomPreview {
  readonly children_state: readonly SpaceChild[]
}

/** Of a space that is in memory: about a kilobyte each. */
const MAX_CHILDREN_IN_MEMORY = 20_000
/** Of one space; the first in their order. */
const MAX_CHILDREN = 1_000

export class RoomPreviews {
  /** They change seldom, and are found by a walk through the whole state. */
  private readonly children = new LRUCache<RoomNumber, { state: StateReference; children: readonly SpaceChild[] }>({
    maxSize: MAX_CHILDREN_IN_MEMORY,
    sizeCalculation: ({ children }) => children.length + 1,
  })

  constructor(
    private readonly stores: Stores,
    private readonly rooms: Rooms,
    private readonly acls: ServerAcls,
  ) {}

  /** The room, when users of this server are in it. Of others nothing is told: it would be as old as their leaving. */
  find(roomId: string): Promise<KnownRoom | undefined> {
    const { stores, rooms } = this
    return residentRoom({ db: stores.db, stores, serverName: rooms.deps.server.name }, roomId)
  }

  /** Whether the reader could join or look into the room. Without a reader: whether anybody could. */
  async mayPreview(name: KnownRoom, reader: Reader | undefined): Promise<boolean> {
    if (reader?.kind === 'server' && !(await this.letsIn(name, reader.server))) return false
    const { history_visibility, join_rule } = await this.rooms.summary(name)
    if (history_visibility === 'world_readable') return true
    const membership = reader && (await this.membership(name, reader))
    if (membership === 'ban') return false
    if (membership === 'join' || membership === 'invite' || join_rule === 'public' || isKnockable(name, join_rule))
      return true
    return reader !== undefined && this.isInAllowedRoom(await this.allowedRooms(name), reader)
  }

  async preview(name: KnownRoom): Promise<RoomPreview> {
    const summary = await this.rooms.summary(name)
    const allowed = await this.allowedRooms(name)
    return {
      ...roomChunk(name.roomId, summary),
      encryption: summary.encryption ?? undefined,
      room_version: name.version,
      ...(allowed.length > 0 && { allowed_room_ids: allowed }),
    }
  }

  async space(name: KnownRoom): Promise<SpaceRoom> {
    return { ...(await this.preview(name)), children_state: await this.childrenOf(name) }
  }

  /** Whether the reader is in one of the rooms; only those that are known here tell. */
  async isInAllowedRoom(roomIds: readonly string[], reader: Reader): Promise<boolean> {
    for (const roomId of roomIds) {
      const name = await this.find(roomId)
      if (name !== undefined && (await this.isJoined(name, reader))) return true
    }
    return false
  }

  private async childrenOf(name: KnownRoom): Promise<readonly SpaceChild[]> {
    const { head, summary } = await this.rooms.head(name)
    if (summary.room_type !== 'm.space') return []
    const known = this.children.get(name.room)
    if (known?.state === head.state) return known.children
    const events = await stateEventsOfType(this.stores, name.room, head.state, 'm.space.child')
    const children = inOrder(events.map(childOf).filter(isChild)).slice(0, MAX_CHILDREN)
    this.children.set(name.room, { state: head.state, children })
    return children
  }

  /** Of a restricted room: whose members may join. */
  private async allowedRooms(name: KnownRoom): Promise<string[]> {
    const joinRules = await this.rooms.currentState(name, 'm.room.join_rules', '')
    return joinRules === undefined || !isRestricted(name, joinRules) ? [] : allowedRooms(joinRules)
  }

  private async letsIn(name: KnownRoom, server: string): Promise<boolean> {
    const { create } = await this.rooms.head(name)
    return create !== undefined && own(create.event.content, 'm.federate') !== false && this.acls.allows(name, server)
  }

  /** Of a server: whether any of its users is in the room or invited. */
  private async membership(name: KnownRoom, reader: Reader): Promise<string | undefined> {
    if (reader.kind !== 'server') return this.rooms.membership(name, reader.userId)
    if (await this.isJoined(name, reader)) return 'join'
    return (await isServerInvited(this.stores.db, name.room, reader.server)) ? 'invite' : undefined
  }

  private async isJoined(name: KnownRoom, reader: Reader): Promise<boolean> {
    if (reader.kind !== 'server') return (await this.rooms.membership(name, reader.userId)) === 'join'
    return isServerIn(this.stores.db, name.room, reader.server)
  }
}

const isKnockable = ({ rules }: KnownRoom, joinRule: string | null): boolean =>
  (rules.knocking && joinRule === 'knock') || (rules.knockRestrictedJoins && joinRule === 'knock_restricted')

const childOf = ({ event }: StoredEvent): SpaceChild => ({
  type: 'm.space.child',
  state_key: event.stateKey ?? '',
  sender: event.sender,
  content: event.content,
  origin_server_ts: event.originServerTs,
})
