/** A room as lists show it: the published rooms, and, with more, the rooms of a space. */
import type { RoomSummary } from '../store/log-writer.js'

/** As it is answered; absent what the room does not have. */
export interface RoomChunk {
  readonly room_id: string
  readonly num_joined_members: number
  readonly world_readable: boolean
  readonly guest_can_join: boolean
  readonly join_rule?: string | undefined
  readonly name?: string | undefined
  readonly topic?: string | undefined
  readonly canonical_alias?: string | undefined
  readonly avatar_url?: string | undefined
  readonly room_type?: string | undefined
}

export const roomChunk = (roomId: string, summary: Omit<RoomSummary, 'in_directory'>): RoomChunk => ({
  room_id: roomId,
  num_joined_members: summary.joined_members,
  world_readable: summary.history_visibility === 'world_readable',
  guest_can_join: summary.guest_access === 'can_join',
  join_rule: summary.join_rule ?? 'invite',
  name: summary.name ?? undefined,
  topic: summary.topic ?? undefined,
  canonical_alias: summary.canonical_alias ?? undefined,
  avatar_url: summary.avatar_url ?? undefined,
  room_type: summary.room_type ?? undefined,
})

/** As who may join, or look into, a room is told of it. https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv1room_summaryroomidoralias */
export interface RoomPreview extends RoomChunk {
  readonly encryption?: string | undefined
  readonly room_version?: string | undefined
  /** Of a restricted room: whose members may join. */
  readonly allowed_room_ids?: readonly string[] | undefined
}
