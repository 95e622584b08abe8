-- Devices of users of other servers who share a room with one of ours, so that clients need not wait for those servers
-- before each message. https://spec.matrix.org/v1.19/server-server-api/#device-management

create table remote_device_list (
  user_id text collate "C" primary key,
  server text collate "C" not null,
  -- false: the server was not heard yet
  is_known boolean not null default false,
  -- of the server's update that the list stands at
  stream_id bigint,
  -- of the log, when the server was asked. It sends what changed later for as long as a room is shared without a break.
  asked_position bigint not null default 0,
  -- canonical JSON, without `unsigned`
  master_key text,
  self_signing_key text,
  -- grows with every update that comes: who asks for the list sees that one came meanwhile
  version bigint not null default 0,
  -- null: the list is what the server has. Otherwise it is to be asked for, not before this time.
  retry_ts bigint,
  -- since it was had last
  attempts int not null default 0
) with (fillfactor = 70);
create index remote_device_list_stale on remote_device_list (retry_ts) where retry_ts is not null;
create index remote_device_list_stale_of_server on remote_device_list (server) where retry_ts is not null;
comment on table remote_device_list is 'Users of other servers whose devices are followed. Written by src/store/remote-devices.ts when a client asks for their keys. Deleted by the clean-up worker when they share no room with a local user any more.';

create table remote_device (
  user_id text collate "C" not null references remote_device_list on delete cascade,
  device_id text collate "C" not null,
  -- canonical JSON of the signed device keys, without `unsigned`
  keys text not null,
  display_name text,
  primary key (user_id, device_id)
);
comment on table remote_device is 'Their devices that have keys. Written by src/store/remote-devices.ts; deleted with the list.';

create table received_message (
  origin text collate "C" not null,
  message_id text collate "C" not null,
  received_ts bigint not null,
  primary key (origin, message_id)
);
create index received_message_received on received_message (received_ts);
comment on table received_message is 'Ids of m.direct_to_device EDUs that were taken, so that one that comes again is not. Written by src/store/to-device.ts. Deleted by the clean-up worker after a week.';
