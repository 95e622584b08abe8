-- The identity of this server, which its data is bound to: user ids, room ids and signatures all carry the name or the
-- key. A start with another name, or with a key that is not the recorded one, is refused (src/store/server.ts).

-- One row, written by the first start. Lives as long as the database.
create table server (
  only_row boolean primary key default true check (only_row),
  server_name text collate "C" not null,
  -- 'ed25519:a_Ab1c' and the 32 bytes of the public key; the private key is in SIGNING_KEY_FILE alone
  signing_key_id text collate "C" not null,
  signing_public_key bytea not null check (length(signing_public_key) = 32),
  -- Part of every sync token. Changed where the log may have lost something (a restored backup): tokens of another
  -- epoch get an initial sync.
  log_epoch text collate "C" not null,
  -- Key of the hashes that identities of states are sums of; see src/protocol/state-trie.ts
  state_identity_key bytea not null check (length(state_identity_key) = 32),
  created_ts bigint not null
);
comment on table server is 'Written by src/store/server.ts at start. One row, never deleted.';

-- Keys this server signed with before, which it publishes as `old_verify_keys` for as long as there are events signed
-- with them: for ever. A row per rotation.
create table old_verify_key (
  key_id text collate "C" primary key,
  public_key bytea not null check (length(public_key) = 32),
  expired_ts bigint not null
);
comment on table old_verify_key is 'Written by src/store/server.ts when a key was rotated. Never deleted.';
