-- Other servers as destinations of what happens here (src/federation/sender).
--
-- Who receives an event is decided by the state at the event, so the times at which a server had joined users in a room
-- are kept. What is to be sent is not copied: an event marks its room for each server concerned, and the text is read
-- when it is sent. Rooms that only local users ever joined write nothing here.

-- a user of another server has been joined to the room at some time
alter table room add column is_shared boolean not null default false;
-- true: an event of ours, or one that we relay, in a room where other servers may have to hear of it
alter table event add column is_outgoing boolean;
create index event_outgoing on event (room, position) where is_outgoing;

create table room_server (
  room int not null,
  server text collate "C" not null,
  -- the state changed by the event at this position; the server is sent what comes after it
  from_position bigint not null,
  -- null: they are there. The event that ends it is sent to them, too.
  to_position bigint,
  -- users of the server who are joined
  joined int not null,
  primary key (room, server, from_position)
) with (fillfactor = 70);
create unique index room_server_now on room_server (server, room) where to_position is null;
create index room_server_ended on room_server (to_position) where to_position is not null;
comment on table room_server is 'When other servers were in which room. Written by the log writer with the memberships. Ended ones are deleted by the clean-up worker when nothing of the room waits for the server; all when the room is purged.';

create table destination_room (
  destination text collate "C" not null,
  room int not null,
  -- what waits to be sent is among the outgoing events from here …
  from_position bigint not null,
  -- … up to here
  to_position bigint not null,
  primary key (destination, room)
) with (fillfactor = 50);
create index destination_room_order on destination_room (destination, from_position);
create index destination_room_of_room on destination_room (room);
comment on table destination_room is 'Rooms with something to send to a destination. Written by the log writer with the events; moved on, and deleted, by src/store/destinations.ts as they are sent. Deleted when the room is purged.';

create table destination (
  destination text collate "C" primary key,
  -- since the last success
  failures int not null default 0,
  retry_ts bigint not null default 0,
  last_error text,
  last_success_ts bigint,
  lease_holder text,
  -- by the clock of the database, in ms
  lease_until_ts bigint not null default 0,
  used_ts bigint not null
) with (fillfactor = 70);
create index destination_used on destination (used_ts);
comment on table destination is 'How sending to a server goes, and which process does it. Written by src/store/destinations.ts. Deleted by the clean-up worker a month after it was used last, when nothing waits for it.';

create table destination_transaction (
  destination text collate "C" primary key,
  transaction_id text not null,
  -- canonical JSON, as it is sent every time
  body text not null,
  -- [[room, position up to which it covers the room] …]
  rooms jsonb not null,
  -- the rows of federation_outbox that are in it
  outbox bigint[] not null,
  pdus int not null,
  edus int not null,
  created_ts bigint not null
);
comment on table destination_transaction is 'The transaction that is on its way to a destination, or whose outcome is unknown. Written and deleted by src/store/destinations.ts; deleted when the destination has answered it.';

create table federation_outbox (
  number bigint generated always as identity primary key,
  destination text collate "C" not null,
  -- a newer EDU takes the place of the one with the same key; null: each is sent
  key text collate "C",
  edu text not null,
  created_ts bigint not null,
  unique (destination, key)
);
create index federation_outbox_order on federation_outbox (destination, number);
create index federation_outbox_created on federation_outbox (created_ts);
comment on table federation_outbox is 'EDUs that must not be lost: to-device messages and changes of devices. Written by src/store/federation-outbox.ts. Deleted when the destination has answered; by the clean-up worker after a month.';

create table device_list_stream (
  user_id text collate "C" primary key,
  -- grows by one with every m.device_list_update of the user
  stream_id bigint not null
);
comment on table device_list_stream is 'The newest stream_id of a local user''s devices: what GET /user/devices answers with. Written by src/store/device-list-stream.ts. Deleted with the account.';

create table told_device (
  user_id text collate "C" not null,
  device_id text collate "C" not null,
  -- of the name and the keys of the device as they were told
  digest text not null,
  primary key (user_id, device_id)
);
comment on table told_device is 'Devices of local users as other servers were told them. Written by src/store/device-list-stream.ts. Deleted when other servers are told that the device is gone.';
