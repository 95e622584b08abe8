/**
 * The statements of one batch of the log writer: one for each table family that the batch touches, each for all its rows.
 * Rows travel as one JSON text a statement, the texts of events beside it. Strings that may hold U+0000 travel as hex, since Postgres' JSON refuses it;
 * the text of an event does not hold it, being JSON itself.
 */
import type { QueryConfig } from 'pg'
import { serverNameOf } from '../protocol/identifiers.js'
import type { EventNumber, Position, RoomNumber } from '../protocol/numbers.js'
import { strippedText } from '../protocol/stripped-event.js'
import { fateNumber } from './events.js'
import type {
  AccountDataFact,
  DeviceListFact,
  Fact,
  HighlightFact,
  MembershipFact,
  ReceiptFact,
  ToDeviceFact,
} from './facts.js'
import type { NewEvent, RoomChange } from './log-writer.js'
import { targetServerOf } from './outgoing.js'
import type { StoredEvent } from './stored-event.js'

export interface Batch {
  readonly facts: readonly Fact[]
  readonly lanes: readonly {
    readonly room: RoomNumber
    readonly changes: readonly RoomChange[]
    readonly segments: readonly { readonly segment: number; readonly body: Uint8Array }[]
    readonly nextSegment: number
  }[]
}

const hex = (text: string): string => Buffer.from(text, 'utf8').toString('hex')

/** `serverName`: this server's, whose users are not kept count of. */
export function statements(batch: Batch, serverName: string): QueryConfig[] {
  const events = batch.lanes.flatMap((lane) => lane.changes.flatMap((change) => change.events))
  // Most batches are messages of our users and nothing else: what they lack is looked for once.
  const received = events.filter((event) => event.received !== undefined)
  const redacting = events.filter((event) => event.redaction !== undefined)
  const leftOver = received.filter(
    (event) => event.received?.promoted === true && event.stored.redactedBy !== undefined,
  )
  const facts = batch.facts.filter((fact) => fact.kind !== 'event')
  const made: (QueryConfig | undefined)[] = [
    newRooms(batch),
    newEvents(events),
    promotions(received),
    // What arrives in the same batch after it was missed leaves nothing behind: first what is missing, then what is here.
    missingPrevEvents(received),
    arrivedPrevEvents(received),
    waitingRedactions(received),
    settledRedactions(received),
    stagedPdus(received),
    newSegments(batch),
    heads(batch),
    summaries(batch),
    stateChanges(facts),
    // Looks at the memberships there were.
    roomServers(facts, serverName),
    memberships(facts),
    ...(received.length + facts.length === 0 ? [] : endsOfPartialStates(batch)),
    partialJoins(received),
    claims(received),
    provisionalEvents(events),
    destinationRooms(events, serverName),
    highlights(facts),
    transactions(events),
    redactions(redacting, leftOver),
    ...redacting.map((event) => strippedRedaction(event)),
    replacements(events),
    receipts(facts),
    accountData(facts),
    toDevice(facts),
    deviceLists(facts),
  ]
  return made.filter((statement) => statement !== undefined)
}

/** A named statement over one JSON array; undefined when there are no rows. */
function over(name: string, text: string, rows: readonly object[]): QueryConfig | undefined {
  return rows.length === 0 ? undefined : { name, text, values: [JSON.stringify(rows)] }
}

const ofKind = <K extends Fact['kind']>(facts: readonly Fact[], kind: K): Extract<Fact, { kind: K }>[] =>
  facts.filter((fact): fact is Extract<Fact, { kind: K }> => fact.kind === kind)

/** The last of each key: a statement cannot touch a row twice. */
function lastOfEach<T>(rows: readonly T[], key: (row: T) => string): T[] {
  if (rows.length < 2) return [...rows]
  return [...new Map(rows.map((row) => [key(row), row])).values()]
}

/** A room may be known by its id already, under its number; an id that another number has is refused. */
const newRooms = (batch: Batch) =>
  over(
    'log-rooms',
    `insert into room (room, room_id, version, creation_event)
     select * from json_to_recordset($1) as x (room int, room_id text, version text, creation_event bigint)
     on conflict (room) do update set version = excluded.version, creation_event = excluded.creation_event`,
    batch.lanes.flatMap(({ room, changes }) =>
      changes.flatMap(({ created }) =>
        created === undefined
          ? []
          : [{ room, room_id: created.roomId, version: created.version, creation_event: created.creationEvent }],
      ),
    ),
  )

/** Stands between texts of events, which are JSON and so have no control characters. */
const SEPARATOR = '\u001e'

/** The texts travel beside the rows: as strings in JSON they would be escaped, and read, a second time. */
function newEvents(events: readonly NewEvent[]): QueryConfig | undefined {
  const written = events.filter((event) => event.received?.promoted !== true)
  if (written.length === 0) return undefined
  return {
    name: 'log-events',
    text: `
      with input as materialized (
        select * from rows from (
          json_to_recordset($1) as (
            room int, event bigint, event_id text, type text, state_key bigint, sender text, origin_server_ts bigint,
            depth bigint, position bigint, prev_events bigint[], auth_events bigint[], auth_depth int, state_before bigint,
            state_after bigint, replaces bigint, fate smallint, reason text, notify_count bigint, highlight_count bigint,
            anchor bigint, minor int, redacted_by bigint, is_outgoing boolean),
          string_to_table($2, e'\\x1e')
        ) as x (
          room, event, event_id, type, state_key, sender, origin_server_ts, depth, position, prev_events, auth_events,
          auth_depth, state_before, state_after, replaces, fate, reason, notify_count, highlight_count, anchor, minor,
          redacted_by, is_outgoing, body)
      ), texts as (
        insert into event_text (room, event, body) select room, event, body from input
      )
      insert into event (
        room, event, event_id, type, state_key, sender, origin_server_ts, depth, position, anchor, minor, prev_events,
        auth_events, auth_depth, state_before, state_after, replaces, fate, reason, notify_count, highlight_count, redacted_by,
        is_outgoing)
      select room, event, event_id, decode(type, 'hex'), state_key, sender, origin_server_ts, depth, position, anchor, minor,
        prev_events, auth_events, auth_depth, state_before, state_after, replaces, fate, reason, notify_count, highlight_count,
        redacted_by, is_outgoing
      from input`,
    values: [JSON.stringify(written.map(eventRow)), written.map(({ stored }) => stored.text).join(SEPARATOR)],
  }
}

const eventRow = ({ stored }: NewEvent) => ({
  room: stored.room,
  event: stored.number,
  event_id: stored.event.eventId,
  type: hex(stored.event.type),
  state_key: stored.stateKey,
  sender: stored.event.sender,
  origin_server_ts: stored.event.originServerTs,
  depth: stored.event.depth,
  position: stored.position,
  anchor: stored.anchor,
  minor: stored.anchor === undefined ? undefined : stored.minor,
  prev_events: stored.prevEvents,
  auth_events: stored.authEvents,
  auth_depth: stored.authDepth,
  state_before: stored.stateBefore,
  state_after: stored.stateAfter === stored.stateBefore ? undefined : stored.stateAfter,
  replaces: stored.replaces,
  fate: fateNumber(stored.fate),
  reason: stored.reason,
  notify_count: stored.notifyCount,
  highlight_count: stored.highlightCount,
  redacted_by: stored.redactedBy,
  is_outgoing: stored.isOutgoing,
})

/** Outliers whose state has become known. Their text, unless it is redacted, ids and edges are what they were. */
const promotions = (events: readonly NewEvent[]) =>
  over(
    'log-promotions',
    `update event set position = x.position, anchor = x.anchor, minor = x.minor, prev_events = x.prev_events,
       state_before = x.state_before, state_after = x.state_after, replaces = x.replaces, fate = x.fate, reason = x.reason,
       notify_count = x.notify_count, highlight_count = x.highlight_count
     from json_to_recordset($1) as x (room int, event bigint, position bigint, anchor bigint, minor int,
       prev_events bigint[], state_before bigint, state_after bigint, replaces bigint, fate smallint, reason text,
       notify_count bigint, highlight_count bigint)
     where event.room = x.room and event.event = x.event`,
    events.flatMap((event) => (event.received?.promoted === true ? [eventRow(event)] : [])),
  )

/** Whoever named the event as a prev event that is missing need not any more. */
const arrivedPrevEvents = (events: readonly NewEvent[]) =>
  over(
    'log-arrived-prev-events',
    `delete from backward_extremity using json_to_recordset($1) as x (room int, event_id text)
     where backward_extremity.room = x.room and backward_extremity.event_id = x.event_id`,
    events.flatMap(({ received, stored }) =>
      received === undefined || stored.stateBefore === undefined
        ? []
        : [{ room: stored.room, event_id: stored.event.eventId }],
    ),
  )

const missingPrevEvents = (events: readonly NewEvent[]) =>
  over(
    'log-missing-prev-events',
    `insert into backward_extremity (room, event_id, event)
     select room, event_id, event from json_to_recordset($1) as x (room int, event_id text, event bigint)
     on conflict do nothing`,
    events.flatMap(({ received, stored }) =>
      (received?.missingPrevEvents ?? []).map((event_id) => ({ room: stored.room, event_id, event: stored.number })),
    ),
  )

const waitingRedactions = (events: readonly NewEvent[]) =>
  over(
    'log-waiting-redactions',
    `insert into waiting_redaction (room, target_event_id, event)
     select room, target, event from json_to_recordset($1) as x (room int, target text, event bigint)
     on conflict do nothing`,
    events.flatMap(({ received, stored }) =>
      received?.waitsFor === undefined ? [] : [{ room: stored.room, target: received.waitsFor, event: stored.number }],
    ),
  )

/** The event they waited for is stored, redacted if they could. */
const settledRedactions = (events: readonly NewEvent[]) =>
  over(
    'log-settled-redactions',
    `delete from waiting_redaction using json_to_recordset($1) as x (room int, event_id text)
     where waiting_redaction.room = x.room and target_event_id = x.event_id`,
    events.flatMap(({ received, stored }) =>
      received === undefined ? [] : [{ room: stored.room, event_id: stored.event.eventId }],
    ),
  )

const stagedPdus = (events: readonly NewEvent[]) =>
  over(
    'log-staged-pdus',
    'delete from staged_pdu using json_to_recordset($1) as x (staged bigint) where staged_pdu.staged = x.staged',
    events.flatMap(({ received }) => (received?.staged === undefined ? [] : [{ staged: received.staged }])),
  )

const newSegments = (batch: Batch) =>
  over(
    'log-segments',
    `insert into state_segment (room, segment, body)
     select room, segment, decode(body, 'base64') from json_to_recordset($1) as x (room int, segment bigint, body text)`,
    batch.lanes.flatMap(({ room, segments }) =>
      segments.map(({ segment, body }) => ({ room, segment, body: Buffer.from(body).toString('base64') })),
    ),
  )

const heads = (batch: Batch) =>
  over(
    'log-heads',
    `update room set head_version = x.version, forward_extremities = x.extremities, state = x.state,
       next_segment = x.next_segment, notify_count = x.notify_count, highlight_count = x.highlight_count,
       last_activity_ts = x.last_activity_ts, is_shared = x.is_shared, partial_join = x.partial_join
     from json_to_recordset($1) as x (room int, version bigint, extremities bigint[], state bigint, next_segment bigint,
       notify_count bigint, highlight_count bigint, last_activity_ts bigint, is_shared boolean,
       partial_join bigint)
     where room.room = x.room`,
    batch.lanes.filter(movesHead).map(({ room, changes, nextSegment }) => {
      const { head } = changes.at(-1)!
      return {
        room,
        version: head.version,
        extremities: head.forwardExtremities,
        state: head.state,
        next_segment: nextSegment,
        notify_count: head.notifyCount,
        highlight_count: head.highlightCount,
        last_activity_ts: head.lastActivityTs,
        is_shared: head.isShared === true,
        partial_join: head.partialJoin,
      }
    }),
  )

/** Outliers leave the head as it is. */
const movesHead = ({ changes }: Batch['lanes'][number]): boolean => changes.at(-1)!.head.version !== changes[0]!.builtOn

const summaryColumns = [
  'name',
  'topic',
  'avatar_url',
  'canonical_alias',
  'join_rule',
  'history_visibility',
  'guest_access',
  'encryption',
  'room_type',
  'tombstone_event_id',
  'joined_members',
  'invited_members',
] as const

/** `in_directory` is not the log writer's (src/store/directory.ts); a new room brings its first value. */
const summaries = (batch: Batch) =>
  over(
    'log-summaries',
    `insert into room_summary (room, in_directory, ${summaryColumns.join(', ')})
     select room, in_directory, ${summaryColumns.join(', ')} from json_to_recordset($1) as x (room int, in_directory boolean, name text, topic text, avatar_url text,
       canonical_alias text, join_rule text, history_visibility text, guest_access text, encryption text, room_type text,
       tombstone_event_id text, joined_members int, invited_members int)
     on conflict (room) do update set ${summaryColumns.map((column) => `${column} = excluded.${column}`).join(', ')}`,
    batch.lanes.flatMap(({ room, changes }) => {
      const summary = changes.findLast((change) => change.summary !== undefined)?.summary
      return summary === undefined ? [] : [{ room, ...summary }]
    }),
  )

const stateChanges = (facts: readonly Fact[]) =>
  over(
    'log-state-changes',
    `insert into state_change (room, position, state_before, state_after, cause, completes)
     select room, position, before, after, cause, coalesce(completes, false)
     from json_to_recordset($1) as x (room int, position bigint, before bigint, after bigint, cause bigint, completes boolean)`,
    ofKind(facts, 'state-change'),
  )

/** Servers that enter and leave rooms, by how many of their users are joined. Nothing for users of this server. */
function roomServers(facts: readonly Fact[], serverName: string): QueryConfig | undefined {
  const rows: object[] = []
  for (const fact of facts) {
    const server = fact.kind === 'membership' ? serverNameOf(fact.user) : undefined
    if (fact.kind !== 'membership' || server === undefined || server === serverName) continue
    const { room, user, membership, position } = fact
    rows.push({ room, user_id: user, server, joined: Number(membership === 'join'), position })
  }
  return over(
    'log-room-servers',
    `with input as materialized (
       select * from json_to_recordset($1) as x (room int, user_id text, server text, joined int, position bigint)
     ), newest as materialized (
       select distinct on (room, user_id) room, user_id, server, joined,
         min(position) over of_server as first, max(position) over of_server as last
       from input window of_server as (partition by room, server) order by room, user_id, position desc
     ), changed as materialized (
       select room, server, sum(joined - (coalesce(membership.membership, '') = 'join')::int) as difference,
         min(first) as first, max(last) as last
       from newest left join membership using (room, user_id)
       group by room, server
       having sum(joined - (coalesce(membership.membership, '') = 'join')::int) <> 0
     ), there as (
       update room_server set joined = room_server.joined + difference,
         to_position = case when room_server.joined + difference <= 0 then last end
       from changed
       where room_server.room = changed.room and room_server.server = changed.server and to_position is null
     )
     insert into room_server (room, server, from_position, joined)
     select room, server, first, difference from changed
     where difference > 0 and not exists (
       select from room_server now
       where now.room = changed.room and now.server = changed.server and now.to_position is null)`,
    rows,
  )
}

/** Rooms that we came into without their members. */
const partialJoins = (events: readonly NewEvent[]) =>
  over(
    'log-partial-joins',
    `insert into partial_join (room, resident, created_ts)
     select * from json_to_recordset($1) as x (room int, resident text, created_ts bigint)
     on conflict (room) do update set resident = excluded.resident, created_ts = excluded.created_ts, attempts = 0,
       next_attempt_ts = 0, last_error = null, lease_holder = null, lease_until_ts = 0`,
    events.flatMap(({ stored: { room }, received: { entersPartially } = {} }) =>
      entersPartially === undefined
        ? []
        : [{ room, resident: entersPartially.resident, created_ts: entersPartially.nowTs }],
    ),
  )

/** Servers that are said to be in a room whose members are to come count as one user more than is known of them. */
const claims = (events: readonly NewEvent[]) =>
  over(
    'log-claims',
    `with input as materialized (
       select * from json_to_recordset($1) as x (room int, server text, position bigint)
     ), there as (
       update room_server set joined = joined + 1, is_claimed = true from input
       where room_server.room = input.room and room_server.server = input.server and to_position is null
         and not is_claimed
     )
     insert into room_server (room, server, from_position, joined, is_claimed)
     select room, server, position, 1, true from input where not exists (
       select from room_server now
       where now.room = input.room and now.server = input.server and now.to_position is null)`,
    events.flatMap(({ stored: { room, position }, received: { entersPartially } = {} }) =>
      (entersPartially?.servers ?? []).map((server) => ({ room, server, position })),
    ),
  )

const provisionalEvents = (events: readonly NewEvent[]) =>
  over(
    'log-provisional-events',
    `insert into provisional_event (room, event, policy, settled_ts)
     select room, event, policy, settled_ts
     from json_to_recordset($1) as x (n int, room int, event bigint, policy text, settled_ts bigint) order by n`,
    events.flatMap(({ provisional, stored: { room, number } }, n) =>
      provisional === undefined
        ? []
        : [{ n, room, event: number, policy: provisional.policy, settled_ts: provisional.settledTs }],
    ),
  )

interface EndOfPartialState {
  readonly room: RoomNumber
  readonly position: Position | undefined
  readonly now: number
  /** What was judged without the members is not judged again: nothing is known of the states at it any more. */
  readonly forgets: boolean
}

function endsOfPartialStates({ lanes, facts }: Batch): (QueryConfig | undefined)[] {
  const ends: EndOfPartialState[] = lanes.flatMap(({ room, changes }) => {
    const isEnd = (fact: Fact) => fact.kind === 'state-change' && fact.room === room && fact.completes === true
    const position = facts.find(isEnd)?.position
    return changes.flatMap<EndOfPartialState>(({ completion, events }) => {
      if (completion !== undefined) return [{ room, position, now: completion.nowTs, forgets: false }]
      return events.flatMap(({ received: { endsPartialState } = {} }) =>
        endsPartialState === undefined ? [] : [{ room, position, now: endsPartialState.nowTs, forgets: true }],
      )
    })
  })
  return [
    over(
      'log-forgotten-states',
      `update event set state_before = null, state_after = null, replaces = null, position = null, anchor = null,
         minor = null
       from json_to_recordset($1) as x (room int) join provisional_event p using (room)
       where settled_ts is null and event.room = p.room and event.event = p.event`,
      ends.filter(({ forgets }) => forgets),
    ),
    over(
      'log-settled-events',
      `with input as materialized (
         select * from json_to_recordset($1) as x (room int, now bigint)
       ), fetched as (
         delete from partial_join using input where partial_join.room = input.room
       )
       update provisional_event set settled_ts = now from input
       where provisional_event.room = input.room and settled_ts is null`,
      ends,
    ),
    over(
      'log-settled-claims',
      `update room_server set joined = joined - 1, is_claimed = false,
         to_position = case when joined <= 1 then x.position end
       from json_to_recordset($1) as x (room int, position bigint)
       where room_server.room = x.room and is_claimed and to_position is null`,
      ends,
    ),
  ]
}

/**
 * Marks rooms for the servers that are to be sent an event: those with joined users in the state at it, and the server
 * of a user whose membership it ends. Marks lie in the order of their key, in which the sender locks them, too.
 */
function destinationRooms(events: readonly NewEvent[], serverName: string): QueryConfig | undefined {
  const ofRooms = new Map<string, { room: RoomNumber; sender_server: string; first: number; last: number }>()
  const ofTargets: object[] = []
  for (const { stored } of events) {
    const { position, room, event } = stored
    if (stored.isOutgoing !== true || position === undefined) continue
    // Of its sender's server is what comes from there; a third-party invite may be made here in the name of any sender.
    const isSelf = event.type !== 'm.room.member' || event.stateKey === event.sender
    const sender_server = isSelf ? (serverNameOf(event.sender) ?? '') : serverName
    const known = ofRooms.get(`${room} ${sender_server}`)
    if (known === undefined)
      ofRooms.set(`${room} ${sender_server}`, { room, sender_server, first: position, last: position })
    else known.last = position
    const target = targetServerOf(event)
    if (target !== undefined && target !== serverName && target !== sender_server)
      ofTargets.push({ room, target, position })
  }
  if (ofRooms.size === 0) return undefined
  return {
    name: 'log-destination-rooms',
    text: `
      insert into destination_room (destination, room, from_position, to_position)
      select destination, room, min(first), max(last) from (
        select s.server as destination, x.room, first, last
        from json_to_recordset($1) as x (room int, sender_server text, first bigint, last bigint)
          join room_server s on s.room = x.room and s.from_position < x.last and s.server <> x.sender_server
            and (s.to_position is null or s.to_position >= x.first)
        union all
        select target, room, position, position
        from json_to_recordset($2) as y (room int, target text, position bigint)
      ) marked
      group by destination, room order by destination, room
      on conflict (destination, room) do update set to_position = excluded.to_position`,
    values: [JSON.stringify([...ofRooms.values()]), JSON.stringify(ofTargets)],
  }
}

/** The membership that ends goes to past_membership, with those that began and ended within the batch. */
function memberships(facts: readonly Fact[]): QueryConfig | undefined {
  const changes = ofKind(facts, 'membership')
  const key = (fact: MembershipFact) => `${fact.room}:${fact.user}`
  const first = new Map<string, MembershipFact>()
  const last = new Map<string, MembershipFact>()
  const past: object[] = []
  for (const change of changes) {
    const before = last.get(key(change))
    if (before === undefined) first.set(key(change), change)
    else past.push({ ...pastRow(before), to_position: change.position })
    last.set(key(change), change)
  }
  const rows = [...last].map(([id, fact]) => ({
    room: fact.room,
    user_id: fact.user,
    membership: fact.membership,
    event: fact.event,
    position: fact.position,
    first: first.get(id)!.position,
    sender: fact.sender,
    stripped_state: fact.strippedState,
    unheld_event_id: fact.unheldEventId,
  }))
  if (rows.length === 0) return undefined
  return {
    name: 'log-memberships',
    text: `
      with input as materialized (
        select * from json_to_recordset($1) as x (room int, user_id text, membership text, event bigint, position bigint,
          first bigint, sender text, stripped_state text, unheld_event_id text)
      ), ended as (
        insert into past_membership (room, user_id, from_position, to_position, membership, event)
        select room, user_id, membership.position, input.first, membership.membership, membership.event
        from membership join input using (room, user_id)
        union all
        select * from json_to_recordset($2) as y (room int, user_id text, from_position bigint, to_position bigint,
          membership text, event bigint)
      )
      insert into membership (room, user_id, membership, event, position, sender, stripped_state, unheld_event_id)
      select room, user_id, membership, event, position, sender, stripped_state, unheld_event_id from input
      on conflict (user_id, room) do update set membership = excluded.membership, event = excluded.event,
        position = excluded.position, sender = excluded.sender, stripped_state = excluded.stripped_state,
        unheld_event_id = excluded.unheld_event_id, forgotten = false`,
    values: [JSON.stringify(rows), JSON.stringify(past)],
  }
}

const pastRow = (fact: MembershipFact) => ({
  room: fact.room,
  user_id: fact.user,
  from_position: fact.position,
  membership: fact.membership,
  event: fact.event,
})

const highlights = (facts: readonly Fact[]) =>
  over(
    'log-highlights',
    `insert into highlight (room, user_id, event, position)
     select room, "user", event, position from json_to_recordset($1) as x (room int, "user" text, event bigint, position bigint)`,
    lastOfEach(ofKind(facts, 'highlight'), (fact: HighlightFact) => `${fact.room}:${fact.position}:${fact.user}`),
  )

const transactions = (events: readonly NewEvent[]) =>
  over(
    'log-transactions',
    `insert into client_transaction (device, key, transaction_id, room, event, created_ts)
     select device, decode(key, 'hex'), transaction_id, room, event, created_ts
     from json_to_recordset($1) as x (device bigint, key text, transaction_id text, room int, event bigint, created_ts bigint)`,
    events.flatMap(({ transaction, stored }) =>
      transaction === undefined
        ? []
        : [
            {
              device: transaction.device,
              key: transaction.key,
              transaction_id: transaction.transactionId,
              room: stored.room,
              event: stored.number,
              created_ts: stored.event.originServerTs,
            },
          ],
    ),
  )

/**
 * What open invites and knocks say of a redacted event: those who have them are not in the room and hear of nothing else.
 * One statement for each redaction, since two may touch one row.
 */
function strippedRedaction({ stored, redaction }: NewEvent): QueryConfig | undefined {
  if (redaction?.target.event.stateKey === undefined) return undefined
  const [was, is] = [strippedText(redaction.target.event), strippedText(redaction.event)]
  return {
    name: 'log-stripped-redaction',
    text: `
      update membership set stripped_state = replace(stripped_state, $2, $3)
      where room = $1 and membership in ('invite', 'knock') and strpos(stripped_state, $2) > 0`,
    values: [stored.room, was, is],
  }
}

/** `leftOver`: events that are here already, and are redacted only now by what waited for them. */
const redactions = (events: readonly NewEvent[], leftOver: readonly NewEvent[]) =>
  over(
    'log-redactions',
    `with input as materialized (
       select * from json_to_recordset($1) as x (room int, event bigint, redacted_by bigint, body text)
     ), texts as (
       update event_text set body = input.body from input
       where event_text.room = input.room and event_text.event = input.event
     )
     update event set redacted_by = input.redacted_by from input where event.room = input.room and event.event = input.event`,
    lastOfEach(
      [
        ...leftOver.map(({ stored }) => redactedRow(stored, stored.redactedBy!, stored.text)),
        ...events.flatMap(({ redaction, stored }) =>
          redaction === undefined ? [] : [redactedRow(redaction.target, stored.number, redaction.text)],
        ),
      ],
      (row) => `${row.room}:${row.event}`,
    ),
  )

const redactedRow = ({ room, number }: StoredEvent, by: EventNumber, body: string) => ({
  room,
  event: number,
  redacted_by: by,
  body,
})

/** The aliases of a room that was upgraded, and its place in the directory: these two tables are otherwise their own writers'. */
const replacements = (events: readonly NewEvent[]) =>
  over(
    'log-replacements',
    `with input as materialized (
       select * from json_to_recordset($1) as x (room int, replacement int)
     ), aliases as (
       update room_alias set room = input.replacement from input where room_alias.room = input.room
     ), withdrawn as (
       update room_summary set in_directory = false from input where room_summary.room = input.room and in_directory
       returning input.replacement
     )
     update room_summary set in_directory = true from withdrawn where room_summary.room = withdrawn.replacement`,
    events.flatMap(({ stored, replacement }) =>
      replacement === undefined ? [] : [{ room: stored.room, replacement }],
    ),
  )

const receipts = (facts: readonly Fact[]) =>
  over(
    'log-receipts',
    `insert into receipt (room, user_id, receipt_type, thread_id, event_id, event, ts, position, notify_count, highlight_count)
     select room, "user", type, "threadId", "eventId", event, ts, position, "notifyCount", "highlightCount"
     from json_to_recordset($1) as x (room int, "user" text, type text, "threadId" text, "eventId" text, event bigint,
       ts bigint, position bigint, "notifyCount" bigint, "highlightCount" bigint)
     on conflict (room, user_id, receipt_type, thread_id) do update set event_id = excluded.event_id,
       event = excluded.event, ts = excluded.ts, position = excluded.position, notify_count = excluded.notify_count,
       highlight_count = excluded.highlight_count`,
    lastOfEach(ofKind(facts, 'receipt'), (fact: ReceiptFact) =>
      JSON.stringify([fact.room, fact.user, fact.type, fact.threadId]),
    ),
  )

const accountData = (facts: readonly Fact[]) =>
  over(
    'log-account-data',
    `insert into account_data (user_id, room, type, content, position)
     select "user", room, type, content, position
     from json_to_recordset($1) as x ("user" text, room int, type text, content text, position bigint)
     on conflict (user_id, room, type) do update set content = excluded.content, position = excluded.position`,
    lastOfEach(ofKind(facts, 'account-data'), (fact: AccountDataFact) =>
      JSON.stringify([fact.user, fact.room, fact.type]),
    ),
  )

const toDevice = (facts: readonly Fact[]) =>
  over(
    'log-to-device',
    `insert into to_device (device, position, sender, type, content)
     select device, position, sender, type, content
     from json_to_recordset($1) as x (device bigint, position bigint, sender text, type text, content text)`,
    ofKind(facts, 'to-device') satisfies ToDeviceFact[],
  )

const deviceLists = (facts: readonly Fact[]) =>
  over(
    'log-device-lists',
    `insert into device_list_change (user_id, position)
     select "user", position from json_to_recordset($1) as x ("user" text, position bigint)
     on conflict (user_id) do update set position = excluded.position`,
    lastOfEach(ofKind(facts, 'device-list'), (fact: DeviceListFact) => fact.user),
  )
