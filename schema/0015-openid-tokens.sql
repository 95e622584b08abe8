-- Tokens with which a user shows another service who they are. https://spec.matrix.org/v1.19/client-server-api/#openid
-- They open nothing here: whoever has one learns whose it is. No token is kept, only its SHA-256.

create table openid_token (
  token_hash bytea primary key check (length(token_hash) = 32),
  user_id text collate "C" not null references account,
  expires_ts bigint not null
);
create index openid_token_expiry on openid_token (expires_ts);
comment on table openid_token is 'Written by src/store/openid-tokens.ts. Deleted by the clean-up when they have expired, an hour after they were made.';
