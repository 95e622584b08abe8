-- The keys other servers sign with, as they published them themselves. They verify events long after the server that
-- made them is gone, and as a notary this server hands the answers on.

-- Answers of GET /_matrix/key/v2/server, each verified with the keys in it.
create table server_key_answer (
  answer bigint generated always as identity primary key,
  server_name text collate "C" not null,
  fetched_ts bigint not null,
  -- at most seven days after fetched_ts
  valid_until_ts bigint not null,
  -- a day when somebody needed a key of the server, kept up as rows are read
  used_ts bigint not null,
  -- canonical JSON, with its signatures
  body text not null
);
create index server_key_answer_server on server_key_answer (server_name, fetched_ts);
create index server_key_answer_used on server_key_answer (used_ts);
comment on table server_key_answer is 'Written by src/store/server-keys.ts. Deleted there when newer answers have all its keys or the server has ten newer ones, and by the clean-up worker a year after the last use.';

-- Of each key what the newest answer that has it says.
create table server_key (
  server_name text collate "C" not null,
  -- 'ed25519:a_Ab1c'
  key_id text collate "C" not null,
  public_key bytea not null check (length(public_key) = 32),
  -- when it stops to count: the answer's time, or expired_ts of a key that is no longer used
  valid_until_ts bigint not null,
  is_old boolean not null,
  answer bigint not null references server_key_answer on delete cascade,
  primary key (server_name, key_id)
);
create index server_key_by_answer on server_key (answer);
comment on table server_key is 'Written by src/store/server-keys.ts. Deleted with the answer.';
