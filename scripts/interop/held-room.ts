/** A room as a server holds it, by its own database: what is needed to judge who is right where two servers differ. */
import { randomBytes } from 'node:crypto'
import { sql, type Kysely } from 'kysely'
import type { StateReference } from '../../src/protocol/numbers.js'
import { entries } from '../../src/protocol/state-trie.js'
import type { LogTables } from '../../src/store/log-tables.js'
import { createStores } from '../../src/store/stores.js'

export type Fate = 'accepted' | 'soft-failed' | 'rejected'

export interface HeldEvent {
  readonly event_id: string
  /** As it is stored: Synapse keeps what was redacted for a week. */
  readonly pdu: string
  readonly fate: Fate
  readonly reason: string | null
  /** Event ids of the state after it, sorted; that before it for rejected ones, null for outliers. */
  readonly after: readonly string[] | null
}

export interface HeldRoom {
  /** Its members are still to come. */
  readonly isPartial: boolean
  readonly extremities: readonly string[]
  /** The current state: event ids, sorted. */
  readonly state: readonly string[]
  /** In the order in which they were stored. */
  readonly events: readonly HeldEvent[]
}

type Db = Kysely<LogTables>

const fates = ['accepted', 'soft-failed', 'rejected'] as const

export async function roomOfHearth(db: Db, roomId: string): Promise<HeldRoom> {
  const { states } = createStores(db, { cacheMb: 16, identityKey: randomBytes(32) })
  const head = await db.selectFrom('room').selectAll().where('room_id', '=', roomId).executeTakeFirstOrThrow()
  const { rows } = await sql<{
    event: number
    event_id: string
    body: string
    fate: number
    reason: string | null
    after: StateReference | null
  }>`
    select event, event_id, body, fate, reason, coalesce(state_after, state_before) as after
    from event join event_text using (room, event) where room = ${head.room} order by event
  `.execute(db)
  const ids = new Map(rows.map(({ event, event_id }) => [event, event_id]))
  const known = new Map<StateReference, Promise<string[]>>()
  const read = async (state: StateReference): Promise<string[]> => {
    const all = await states.work(head.room, (segments) => entries(segments, state))
    return all.map(([, event]) => ids.get(event) ?? `event ${event}`).sort()
  }
  const stateAt = (state: StateReference): Promise<string[]> => {
    if (!known.has(state)) known.set(state, read(state))
    return known.get(state)!
  }
  const events: HeldEvent[] = []
  for (const { event_id, body, fate, reason, after } of rows) {
    events.push({
      event_id,
      pdu: body,
      fate: fates[fate]!,
      reason,
      after: after === null ? null : await stateAt(after),
    })
  }
  return {
    isPartial: head.partial_join !== null,
    extremities: head.forward_extremities.map((event) => ids.get(event) ?? `event ${event}`).sort(),
    state: await stateAt(head.state),
    events,
  }
}

export async function roomOfSynapse(db: Db, roomId: string): Promise<HeldRoom> {
  const { rows: events } = await sql<Omit<HeldEvent, 'after'> & { state_group: string | null }>`
    select event_id, json as pdu, coalesce(rejection_reason, reason) as reason, state_group,
      case when coalesce(rejection_reason, reason) is not null then 'rejected'
        when internal_metadata::jsonb->>'soft_failed' = 'true' then 'soft-failed' else 'accepted' end as fate
    from events join event_json using (event_id) left join rejections using (event_id)
      left join event_to_state_groups using (event_id)
    where events.room_id = ${roomId} order by stream_ordering
  `.execute(db)
  const { rows: entriesOfGroups } = await sql<{ state_group: string; event_ids: string[] }>`
    with recursive line(state_group, at, hops) as (
      select id, id, 0 from state_groups where room_id = ${roomId}
      union all
      select line.state_group, prev_state_group, hops + 1
      from line join state_group_edges edge on edge.state_group = line.at
    ), entry as (
      select distinct on (line.state_group, type, state_key) line.state_group, event_id
      from line join state_groups_state entry on entry.state_group = line.at
      order by line.state_group, type, state_key, hops
    )
    select state_group, array_agg(event_id order by event_id collate "C") as event_ids from entry group by 1
  `.execute(db)
  const groups = new Map(entriesOfGroups.map(({ state_group, event_ids }) => [state_group, event_ids]))
  const state = await idsOf(db, sql`select event_id from current_state_events where room_id = ${roomId}`)
  const extremities = await idsOf(db, sql`select event_id from event_forward_extremities where room_id = ${roomId}`)
  const joins = await sql`select from partial_state_rooms where room_id = ${roomId}`.execute(db)
  return {
    isPartial: joins.rows.length > 0,
    extremities,
    state,
    events: events.map(({ state_group, ...event }) => ({
      ...event,
      after: state_group === null ? null : (groups.get(state_group) ?? []),
    })),
  }
}

async function idsOf(db: Db, query: ReturnType<typeof sql>): Promise<string[]> {
  const { rows } = await query.execute(db)
  return (rows as { event_id: string }[]).map(({ event_id }) => event_id).sort()
}
