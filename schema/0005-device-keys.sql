-- Keys of local users' devices, for end-to-end encryption, and two small records that make their endpoints reliable.
-- https://spec.matrix.org/v1.19/client-server-api/#end-to-end-encryption
--
-- None of it has a position in the log: what others have to hear of is a device_list_change, written by the log writer.
-- All of it is deleted with its device.

create table device_key (
  device int primary key references device on delete cascade,
  -- canonical JSON of the signed device keys, without `unsigned`
  body text not null
);
comment on table device_key is 'Identity keys of a device. Written by src/store/device-keys.ts. Replaced by newer ones; deleted with the device.';

create table one_time_key (
  device int not null references device on delete cascade,
  algorithm text collate "C" not null,
  key_id text collate "C" not null,
  -- keys are given out in the order of their uploads
  number bigint generated always as identity,
  -- canonical JSON of the key, a string or an object
  body text not null,
  -- null: still there. A claimed key is remembered for a while, so that an upload that is repeated does not bring it back.
  claimed_ts bigint,
  primary key (device, algorithm, key_id)
);
create index one_time_key_unclaimed on one_time_key (device, algorithm, number) where claimed_ts is null;
create index one_time_key_claimed on one_time_key (claimed_ts) where claimed_ts is not null;
comment on table one_time_key is 'Written by src/store/device-keys.ts. Claimed ones are deleted by the clean-up worker after a week; all with the device.';

create table fallback_key (
  device int not null references device on delete cascade,
  algorithm text collate "C" not null,
  key_id text collate "C" not null,
  body text not null,
  is_used boolean not null default false,
  primary key (device, algorithm)
);
comment on table fallback_key is 'What is claimed when there are no one-time keys: one for each algorithm. Written by src/store/device-keys.ts. Replaced by newer ones; deleted with the device.';

create table to_device_transaction (
  device int not null references device on delete cascade,
  -- first 16 bytes of the SHA-256 of event type and transaction id
  key bytea not null,
  created_ts bigint not null,
  primary key (device, key)
);
create index to_device_transaction_created on to_device_transaction (created_ts);
comment on table to_device_transaction is 'Transaction ids of sendToDevice by the sending device. Written by src/store/to-device.ts. Deleted by the clean-up worker after a day; with the device.';

create table untold_device_list (
  number bigint generated always as identity primary key,
  user_id text collate "C" not null,
  created_ts bigint not null
);
comment on table untold_device_list is 'Changes of devices that are committed and not in the log yet. Written by src/store/device-lists.ts with the change; deleted as soon as the log has it. What is left over by a process that died is told by the clean-up worker.';
