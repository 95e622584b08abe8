-- Accounts of this server's users, their devices and access tokens, and what is needed to make accounts.
-- Times are milliseconds since 1970. No password and no token is kept: passwords as argon2id hashes, tokens as SHA-256.

create table account (
  user_id text collate "C" primary key,
  -- PHC string of argon2id; null: no password opens this account
  password_hash text,
  is_admin boolean not null default false,
  created_ts bigint not null,
  -- null: active
  deactivated_ts bigint
);
comment on table account is 'Local users. Written by src/store/accounts.ts. Never deleted: a deactivated name must not be taken by somebody else.';

create table device (
  -- DeviceNumber: what other tables and the log call the device
  device int generated always as identity primary key,
  user_id text collate "C" not null references account,
  device_id text collate "C" not null,
  display_name text,
  -- SHA-256 of its one access token
  token_hash bytea not null unique check (length(token_hash) = 32),
  created_ts bigint not null,
  -- written every few minutes at most
  last_seen_ts bigint not null,
  last_seen_ip text not null,
  unique (user_id, device_id)
) with (fillfactor = 80);
comment on table device is 'Devices and their access tokens. Written by src/store/devices.ts. Deleted by log-out, by their user, by a change of password and with deactivation; what belongs to a device is deleted with it.';

create table registration_token (
  token text collate "C" primary key,
  -- null: any number
  uses_allowed int check (uses_allowed >= 0),
  completed int not null default 0,
  -- null: never
  expires_ts bigint,
  created_ts bigint not null
);
comment on table registration_token is 'Tokens for REGISTRATION=token. Made and deleted by administrators; src/store/registration-tokens.ts counts their uses.';

create table interactive_auth_session (
  session text collate "C" primary key,
  -- what is being authorised: operation and its subject. A session is good for nothing else.
  operation text not null,
  completed text[] not null default '{}',
  -- the token of a completed m.login.registration_token: a use that is pending while the session lives
  registration_token text collate "C",
  expires_ts bigint not null
);
create index interactive_auth_session_expiry on interactive_auth_session (expires_ts);
comment on table interactive_auth_session is 'User-interactive authentication that has begun. Deleted when it is complete; those that are 15 minutes old, when others begin (src/store/interactive-auth-sessions.ts).';

create table setup_token (
  token_hash bytea primary key check (length(token_hash) = 32),
  created_ts bigint not null
);
comment on table setup_token is 'Links with which the first administrator is made in a browser; one per start without an administrator, the newest ten. All are deleted when an administrator is made.';
