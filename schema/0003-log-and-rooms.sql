-- The log and the rooms: events, state, heads, memberships.
--
-- Only the log writer (src/store/log-writer.ts) inserts or updates here, in transactions that hold the log's advisory
-- lock. Every room table begins with the room, so that rooms can be spread over several databases one day.
-- Strings that peers choose and that may hold any code point (types, state keys) are bytea: a text column refuses U+0000
-- and one such key would fail its whole batch. Identifiers cannot hold U+0000 and are text.

-- Positions: handed out and committed in one order. A rollback leaves a hole; holes are normal.
create sequence log_position;

-- Identities. A process takes a block of 1,000 event numbers at a time; unused numbers are never reused.
create sequence event_number increment by 1000 minvalue 1000;
create sequence room_number as int;
create sequence state_key_number maxvalue 4294967295;

-- Rows live as long as the database: a row is shared by every event of every room with this type and state key.
create table state_key (
  state_key bigint primary key,
  type bytea not null,
  key bytea not null,
  unique (type, key)
);
comment on table state_key is 'Interned (type, state_key). Written by src/store/state-keys.ts in a transaction of its own, before anything refers to it. Never deleted.';

create table room (
  room int primary key,
  room_id text collate "C" not null unique,
  -- null: known by an invite or a knock only; such a room has no head
  version text,
  creation_event bigint,
  head_version bigint not null default 0,
  forward_extremities bigint[] not null default '{}',
  -- current state: the resolution of the states after all forward extremities
  state bigint not null default 0,
  next_segment bigint not null default 1,
  -- running counts of events that notify, or highlight, by the default push rules: unread counts are differences of these
  notify_count bigint not null default 0,
  highlight_count bigint not null default 0,
  last_activity_ts bigint not null default 0
) with (fillfactor = 70);
comment on table room is 'A room and its head. Moved by the log writer only. Deleted when the room is purged.';

create table event (
  room int not null,
  event bigint not null,
  event_id text collate "C" not null,
  type bytea not null,
  state_key bigint,
  sender text collate "C" not null,
  origin_server_ts bigint not null,
  depth bigint not null,
  -- null for outliers and for history fetched later: not new to readers
  position bigint,
  -- the order in the room: a live event has (its position, 0); history fetched before the event at P has (P, -1), (P, -2) …
  anchor bigint,
  minor int,
  prev_events bigint[] not null,
  auth_events bigint[] not null,
  -- 1 + the largest auth depth of its auth events
  auth_depth int not null,
  -- null for outliers
  state_before bigint,
  -- only where it differs from state_before: accepted state events
  state_after bigint,
  -- the event that had this (type, state_key) in the state before
  replaces bigint,
  -- 0 accepted, 1 soft-failed, 2 rejected
  fate smallint not null default 0,
  reason text,
  redacted_by bigint,
  -- the room's running counts after this event
  notify_count bigint not null default 0,
  highlight_count bigint not null default 0,
  primary key (room, event),
  unique (room, event_id)
);
create index event_order on event (room, anchor, minor) where anchor is not null;
create index event_position on event (position) where position is not null;
-- auth edges in reverse, of state events: what reaches a candidate of the auth-chain difference
create index event_auth_edges on event using gin (auth_events) where state_key is not null;
comment on table event is 'What queries read of an event. Written by the log writer. Deleted when the room is purged.';

create table event_text (
  room int not null,
  event bigint not null,
  -- canonical JSON of the signed PDU; after a redaction, of the redacted one
  body text not null,
  primary key (room, event)
);
comment on table event_text is 'The text that was signed. Written by the log writer with its event. Deleted with its event.';

create table backward_extremity (
  room int not null,
  event_id text collate "C" not null,
  -- the event we hold that names it as a prev event
  event bigint not null,
  primary key (room, event_id, event)
);
comment on table backward_extremity is 'Prev events we do not hold. Deleted when the event arrives, or with the room.';

create table state_segment (
  room int not null,
  segment bigint not null,
  body bytea not null,
  primary key (room, segment)
);
-- packed nodes do not compress; do not try
alter table state_segment alter column body set storage external;
comment on table state_segment is 'Packed nodes of the state trie (src/protocol/state-trie.ts). Written by the log writer. Deleted when the room is purged.';

create table state_change (
  room int not null,
  position bigint not null,
  state_before bigint not null,
  state_after bigint not null,
  -- the event that caused it: not always the one that shows it
  cause bigint not null,
  primary key (room, position)
);
create index state_change_position on state_change (position);
comment on table state_change is 'The history of current state: sync, memberships and summaries follow these facts, never the timeline. Deleted when the room is purged.';

create table membership (
  room int not null,
  user_id text collate "C" not null,
  membership text not null,
  -- null: an invite or knock to a room we are not in
  event bigint,
  position bigint not null,
  sender text collate "C" not null,
  forgotten boolean not null default false,
  -- stripped state of an invite or knock, a JSON array; null otherwise
  stripped_state text,
  primary key (user_id, room)
);
create index membership_of_room on membership (room, membership);
create index membership_position on membership (position);
comment on table membership is 'Current membership by user and room. Written by the log writer. Deleted when the room is purged; rows of forgotten rooms when no event needs them.';

create table past_membership (
  room int not null,
  user_id text collate "C" not null,
  from_position bigint not null,
  to_position bigint not null,
  membership text not null,
  event bigint,
  primary key (user_id, room, from_position)
);
comment on table past_membership is 'Memberships that ended: what a person may read depends on when they were in the room, also afterwards. Deleted when the room is purged.';

create table room_summary (
  room int primary key,
  name text, topic text, avatar_url text, canonical_alias text,
  join_rule text, history_visibility text, guest_access text, encryption text, room_type text,
  -- the event that follows this room, when it was upgraded
  tombstone_event_id text,
  joined_members int not null default 0,
  invited_members int not null default 0,
  in_directory boolean not null default false
) with (fillfactor = 70);
comment on table room_summary is 'What lists show of a room, written in the transaction that changes it. Strings are as shown: U+0000 removed. Deleted when the room is purged.';

create table room_alias (
  alias text collate "C" primary key,
  room int not null,
  creator text collate "C" not null,
  created_ts bigint not null
);
create index room_alias_of_room on room_alias (room);
comment on table room_alias is 'Local aliases. Written by src/store/aliases.ts. Deleted by DELETE /directory/room/{alias}, or with the room.';

create table client_transaction (
  device bigint not null,
  -- first 16 bytes of the SHA-256 of endpoint, room and transaction id
  key bytea not null,
  transaction_id text not null,
  room int not null,
  event bigint not null,
  created_ts bigint not null,
  primary key (device, key)
);
create index client_transaction_event on client_transaction (device, event);
create index client_transaction_created on client_transaction (created_ts);
comment on table client_transaction is 'Transaction ids of sends, written with their event. Deleted by the clean-up worker after a day, and with the device.';
