import type { Generated } from 'kysely'
import type {
  DeviceNumber,
  EventNumber,
  Position,
  RoomNumber,
  StateKeyNumber,
  StateReference,
} from '../protocol/numbers.js'

/**
 * The advisory lock of the log: whoever holds it hands out positions and commits what has them. Any number will do, as
 * long as nobody else takes it.
 */
export const logLock = 4_704_129

/** The tables of schema/0003 and 0004 as Kysely sees them. int8 arrives as number (database.ts). */
export interface LogTables {
  state_key: { state_key: StateKeyNumber; type: Buffer; key: Buffer }
  room: {
    room: RoomNumber
    room_id: string
    version: string | null
    creation_event: EventNumber | null
    head_version: number
    forward_extremities: EventNumber[]
    state: StateReference
    next_segment: number
    notify_count: number
    highlight_count: number
    last_activity_ts: number
    is_shared: Generated<boolean>
    partial_join: EventNumber | null
  }
  event: {
    room: RoomNumber
    event: EventNumber
    event_id: string
    type: Buffer
    state_key: StateKeyNumber | null
    sender: string
    origin_server_ts: number
    depth: number
    position: Position | null
    anchor: Position | null
    minor: number | null
    prev_events: EventNumber[]
    auth_events: EventNumber[]
    auth_depth: number
    state_before: StateReference | null
    state_after: StateReference | null
    replaces: EventNumber | null
    fate: number
    reason: string | null
    redacted_by: EventNumber | null
    notify_count: number
    highlight_count: number
    is_outgoing: boolean | null
  }
  event_text: { room: RoomNumber; event: EventNumber; body: string }
  backward_extremity: { room: RoomNumber; event_id: string; event: EventNumber }
  provisional_event: {
    room: RoomNumber
    ordinal: Generated<number>
    event: EventNumber
    policy: string | null
    settled_ts: number | null
  }
  waiting_redaction: { room: RoomNumber; target_event_id: string; event: EventNumber }
  state_segment: { room: RoomNumber; segment: number; body: Buffer }
  state_change: {
    room: RoomNumber
    position: Position
    state_before: StateReference
    state_after: StateReference
    cause: EventNumber
    completes: Generated<boolean>
  }
  membership: {
    room: RoomNumber
    user_id: string
    membership: string
    event: EventNumber | null
    position: Position
    sender: string
    forgotten: boolean
    stripped_state: string | null
    unheld_event_id: string | null
  }
  past_membership: {
    room: RoomNumber
    user_id: string
    from_position: Position
    to_position: Position
    membership: string
    event: EventNumber | null
  }
  room_summary: {
    room: RoomNumber
    name: string | null
    topic: string | null
    avatar_url: string | null
    canonical_alias: string | null
    join_rule: string | null
    history_visibility: string | null
    guest_access: string | null
    encryption: string | null
    room_type: string | null
    tombstone_event_id: string | null
    joined_members: number
    invited_members: number
    in_directory: boolean
  }
  room_alias: { alias: string; room: RoomNumber; creator: string; created_ts: number }
  client_transaction: {
    device: DeviceNumber
    key: Buffer
    transaction_id: string
    room: RoomNumber
    event: EventNumber
    created_ts: number
  }
  receipt: {
    room: RoomNumber
    user_id: string
    receipt_type: string
    thread_id: string
    event_id: string
    event: EventNumber
    ts: number
    position: Position
    notify_count: number
    highlight_count: number
  }
  account_data: { user_id: string; room: RoomNumber | 0; type: string; content: string; position: Position }
  highlight: { room: RoomNumber; user_id: string; event: EventNumber; position: Position }
  to_device: { device: DeviceNumber; position: Position; sender: string; type: string; content: string }
  device_list_change: { user_id: string; position: Position }
  filter: { user_id: string; filter_id: number; body: string }
}
