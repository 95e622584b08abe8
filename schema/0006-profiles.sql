-- Profiles of local users. https://spec.matrix.org/v1.19/client-server-api/#profiles
--
-- A change of the display name or the avatar is told to every joined room as a new m.room.member event. That may be many
-- rooms, and the process may die between two of them: what was told is written down here, in the row of the profile.

create table profile (
  user_id text collate "C" primary key references account,
  displayname text,
  avatar_url text,
  -- all other fields: a JSON object as text
  fields text not null default '{}',
  -- grows by one with every change of displayname or avatar_url
  version int not null default 0,
  -- the version that all joined rooms have been told
  told_version int not null default 0
);
create index profile_untold on profile (user_id) where told_version < version;
comment on table profile is 'Written by src/store/profiles.ts. A user who never set anything has no row. Lives as long as the account.';
