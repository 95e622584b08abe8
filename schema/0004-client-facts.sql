-- What clients have to hear of beside events: each row has a position in the log and is written by the log writer.

create table receipt (
  room int not null,
  user_id text collate "C" not null,
  receipt_type text not null,
  -- '' for an unthreaded receipt
  thread_id text collate "C" not null,
  event_id text collate "C" not null,
  event bigint not null,
  ts bigint not null,
  position bigint not null,
  -- the room's running counts at the event: a user's unread counts are what came since
  notify_count bigint not null,
  highlight_count bigint not null,
  primary key (room, user_id, receipt_type, thread_id)
) with (fillfactor = 70);
create index receipt_position on receipt (position);
comment on table receipt is 'The newest receipt of each kind. Replaced by newer ones; deleted with the room or the account.';

create table account_data (
  user_id text collate "C" not null,
  -- 0: global
  room int not null,
  type text collate "C" not null,
  content text not null,
  position bigint not null,
  primary key (user_id, room, type)
);
create index account_data_position on account_data (position);
comment on table account_data is 'Global and per-room account data, among it m.push_rules, m.tag and m.fully_read. Replaced by newer ones; deleted with the account.';

create table highlight (
  room int not null,
  user_id text collate "C" not null,
  event bigint not null,
  position bigint not null,
  primary key (user_id, room, position)
);
create index highlight_position on highlight (position);
comment on table highlight is 'Events that highlight for one member and not for all. Deleted by the clean-up worker once the member''s receipt has passed them.';

create table to_device (
  device bigint not null,
  position bigint not null,
  sender text collate "C" not null,
  type text not null,
  content text not null,
  primary key (device, position)
);
create index to_device_position on to_device (position);
comment on table to_device is 'Messages waiting for a device. Deleted when the device has shown, by its next since, that it has them; with the device.';

create table device_list_change (
  user_id text collate "C" primary key,
  position bigint not null
) with (fillfactor = 70);
create index device_list_change_position on device_list_change (position);
comment on table device_list_change is 'The newest change of a user''s devices or their keys. Replaced by newer ones; deleted with the account.';

create table filter (
  user_id text collate "C" not null,
  filter_id bigint not null,
  body text not null,
  primary key (user_id, filter_id)
);
comment on table filter is 'Filters a client stored. The same filter is stored once; at most 1,000 a user; deleted with the account.';
