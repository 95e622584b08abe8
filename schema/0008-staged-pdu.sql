-- PDUs of other servers' transactions that were answered and not yet decided (src/room/inbound). A peer that has our
-- answer does not send them again: until the log has them, they are here.

create table staged_pdu (
  staged bigint generated always as identity primary key,
  room_id text collate "C" not null,
  event_id text collate "C" not null,
  -- the server that sent it, which is whom to ask for what is missing; not always that of the sender
  origin text collate "C" not null,
  received_ts bigint not null,
  -- as it came
  body text not null,
  attempts int not null default 0,
  next_attempt_ts bigint not null default 0,
  -- why the last attempt did not decide it
  reason text,
  -- the staged event it has to wait for; due again as soon as that is stored or dropped
  waits_for text collate "C",
  -- by origin: in versions 1 and 2 a forger could otherwise take the place of the event whose id they chose
  unique (room_id, event_id, origin)
);
create index staged_pdu_due on staged_pdu (room_id, next_attempt_ts, staged);
create index staged_pdu_waits on staged_pdu (room_id, waits_for) where waits_for is not null;
create index staged_pdu_received on staged_pdu (received_ts);
comment on table staged_pdu is 'Written by src/store/staged-pdus.ts. Deleted by the log writer in the transaction that stores the event, by the inbound worker when the event is dropped or known, by the clean-up worker after a week.';

create table inbound_lease (
  room_id text collate "C" primary key,
  holder text not null,
  -- by the clock of the database, in ms
  until_ts bigint not null
);
comment on table inbound_lease is 'Which process works off a room''s staged PDUs. Deleted by its holder when the room is done, and when its time is over by whoever takes a lease next.';
