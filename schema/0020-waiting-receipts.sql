-- A receipt of another server's user often comes before the event it is of: in the transaction that brings the event, or
-- while the event waits for those before it. It is kept until the event is here.
create table waiting_receipt (
  room int not null,
  user_id text collate "C" not null,
  -- '' for an unthreaded receipt
  thread_id text collate "C" not null,
  event_id text collate "C" not null,
  ts bigint not null,
  received_ts bigint not null,
  primary key (room, user_id, thread_id)
) with (fillfactor = 70);
create index waiting_receipt_event on waiting_receipt (room, event_id);
create index waiting_receipt_received on waiting_receipt (received_ts);
comment on table waiting_receipt is 'The newest receipt of each thread that is of an event we do not hold. Deleted when the event is here, by the clean-up after a week, or with the room.';
