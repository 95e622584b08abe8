-- Joins whose members are still coming (docs/room-engine.md, "Joining with partial state").
--
-- A server that lets us in may leave out the members of the room. Until they are here the states of the room lack them,
-- and what is judged on such a state is judged again when it is whole: those events are listed, in the order in which they
-- came. What is to be fetched is a row, so that it goes on after a crash, in whichever process.

-- our join, while the state before it lacks members
alter table room add column partial_join bigint;

create table partial_join (
  room int primary key,
  -- the server that let us in
  resident text collate "C" not null,
  created_ts bigint not null,
  attempts int not null default 0,
  next_attempt_ts bigint not null default 0,
  last_error text,
  lease_holder text,
  -- by the clock of the database, in ms
  lease_until_ts bigint not null default 0
);
comment on table partial_join is 'Rooms whose members are still to be fetched. Written by the log writer with the join; src/store/partial-joins.ts writes how fetching goes. Deleted by the log writer when the state is whole, or the room is entered anew; with the room.';

create table provisional_event (
  room int not null,
  ordinal bigint generated always as identity,
  event bigint not null,
  -- why the room's policy server refused it, as it is not asked again
  policy text,
  -- when it was judged again, in ms: other processes then read it anew
  settled_ts bigint,
  primary key (room, ordinal)
);
create index provisional_event_settled on provisional_event (settled_ts) where settled_ts is not null;
comment on table provisional_event is 'Events judged on a state that lacks members, in the order in which they came. Written by the log writer with them; deleted by the clean-up worker an hour after they were judged again; with the room.';

-- the server that let us in says that the server is in the room: counted as one user of it until the members are known
alter table room_server add column is_claimed boolean not null default false;

-- the members came in: events were judged again, and what is in memory of them is to be read anew
alter table state_change add column completes boolean not null default false;
