/**
 * The rooms of a space and of the spaces in it, for a user, depth first. Rooms that are not known here are asked of the
 * servers that their space names. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1roomsroomidhierarchy
 *
 * A page is a walk from the root that passes over what earlier pages showed: any process can answer any page, and what
 * other servers said is remembered meanwhile. Each room is shown once, where it is met first, so cycles end.
 */
import { isRoomIdWithServer, serverNameOf } from '../protocol/identifiers.js'
import { forbidden } from '../protocol/matrix-error.js'
import { membershipIn } from '../store/memberships.js'
import type { Stores } from '../store/stores.js'
import type { Reader } from './gate.js'
import type { RoomPreview } from './room-chunk.js'
import type { RoomPreviews, SpaceRoom } from './room-previews.js'
import { isSuggested, viaOf } from './space-child.js'

/** A room as another server tells of it to us, with what it knows of its children. */
export interface ToldRoom {
  readonly room: SpaceRoom
  readonly children: ReadonlyMap<string, RoomPreview>
  /** Children that we could not join, as it says. */
  readonly inaccessible: ReadonlySet<string>
}

/** Other servers, as the hierarchy asks them. */
export interface RemoteSpaces {
  /** undefined: none of the servers tells of the room. */
  ask(roomId: string, servers: readonly string[], signal: AbortSignal): Promise<ToldRoom | undefined>
}

export interface HierarchyQuery {
  readonly suggestedOnly: boolean
  readonly maxDepth: number
  readonly limit: number
  /** Rooms that earlier pages showed. */
  readonly skip: number
}

export interface HierarchyPage {
  readonly rooms: readonly SpaceRoom[]
  readonly isLast: boolean
}

export interface SpaceHierarchyDeps {
  readonly stores: Stores
  readonly previews: RoomPreviews
  readonly remote: RemoteSpaces
  readonly now?: () => number
}

/** One walk looks at so many rooms; there the hierarchy ends. */
const MAX_VISITED = 1_000
/** After so many ms a page ends with what there is. The next one finds what was asked until then remembered. */
const MAX_TIME = 20_000

interface Step {
  readonly roomId: string
  readonly depth: number
  readonly via: readonly string[]
  /** What was told of the space in which the room is. */
  readonly parent: ToldRoom | undefined
}

export class SpaceHierarchy {
  constructor(private readonly deps: SpaceHierarchyDeps) {}

  /** @throws MatrixError 403 for a room that is not known, or that the user could neither join nor look into. */
  async page(rootId: string, reader: Reader, query: HierarchyQuery, signal: AbortSignal): Promise<HierarchyPage> {
    const { now = () => performance.now() } = this.deps
    const end = now() + MAX_TIME
    const seen = new Set<string>()
    const rooms: SpaceRoom[] = []
    let skipped = 0
    const ahead: Step[] = [{ roomId: rootId, depth: 0, via: serverOf(rootId), parent: undefined }]
    for (let step = ahead.pop(); step !== undefined; step = ahead.pop()) {
      if (seen.has(step.roomId)) continue
      if (seen.size === MAX_VISITED) break
      if (seen.size > 0 && now() > end) return { rooms, isLast: false }
      seen.add(step.roomId)
      const visited = await this.visit(step, reader, signal)
      if (visited === undefined && step.depth === 0) throw forbidden('You can neither join nor look into this room')
      if (visited === undefined) continue
      if (rooms.length === query.limit) return { rooms, isLast: false }
      const room = withChildren(visited.room, query)
      if (skipped < query.skip) skipped++
      else rooms.push(room)
      if (step.depth < query.maxDepth) ahead.push(...stepsInto(room, step.depth + 1, visited.told).reverse())
    }
    return { rooms, isLast: true }
  }

  /** The room alone, as the user may know it; servers are asked when it is not known here. */
  async room(
    roomId: string,
    reader: Reader,
    servers: readonly string[],
    signal: AbortSignal,
  ): Promise<SpaceRoom | undefined> {
    return (await this.visit({ roomId, depth: 0, via: servers, parent: undefined }, reader, signal))?.room
  }

  /** undefined for a room of which the user is told nothing. */
  private async visit(
    { roomId, via, parent }: Step,
    reader: Reader,
    signal: AbortSignal,
  ): Promise<{ room: SpaceRoom; told: ToldRoom | undefined } | undefined> {
    const { previews, remote } = this.deps
    const name = await previews.find(roomId)
    if (name !== undefined) {
      const mayPreview = await previews.mayPreview(name, reader)
      return mayPreview ? { room: await previews.space(name), told: undefined } : undefined
    }
    if (parent?.inaccessible.has(roomId)) return undefined
    const known = parent?.children.get(roomId)
    const isPlain = known !== undefined && known.room_type !== 'm.space'
    const told = isPlain ? undefined : await remote.ask(roomId, via, signal)
    const room = told?.room ?? (known && { ...known, children_state: [] })
    return room !== undefined && (await this.mayKnow(room, reader)) ? { room, told } : undefined
  }

  /** Other servers tell what this server could join; which of its users could is for us to say. */
  private async mayKnow(room: RoomPreview, reader: Reader): Promise<boolean> {
    const { previews, stores } = this.deps
    if (room.world_readable || OPEN_TO_ALL.has(room.join_rule ?? 'public')) return true
    if (reader.kind === 'server') return false
    const name = await stores.names.find(room.room_id)
    const membership = name && (await membershipIn(stores.db, name.room, reader.userId))?.membership
    if (membership === 'invite' || membership === 'join') return true
    return room.join_rule === 'restricted' && previews.isInAllowedRoom(room.allowed_room_ids ?? [], reader)
  }
}

const OPEN_TO_ALL: ReadonlySet<string> = new Set(['public', 'knock', 'knock_restricted'])

const serverOf = (roomId: string): string[] => (isRoomIdWithServer(roomId) ? [serverNameOf(roomId)!] : [])

const withChildren = (room: SpaceRoom, { suggestedOnly }: HierarchyQuery): SpaceRoom =>
  suggestedOnly ? { ...room, children_state: room.children_state.filter(isSuggested) } : room

const stepsInto = (room: SpaceRoom, depth: number, parent: ToldRoom | undefined): Step[] =>
  room.children_state.map(({ state_key, content }) => ({ roomId: state_key, depth, via: viaOf(content), parent }))
