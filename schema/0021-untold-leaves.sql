-- Who declines an invite, or takes back a knock, is answered before the servers of the room have taken it. What they are
-- still to be told outlives the process, and a server that is away for an hour.
create table untold_leave (
  room int not null,
  user_id text collate "C" not null,
  -- of the membership that it ends
  position bigint not null,
  -- of the leave, as JSON; text, since a client may write \u0000 into it
  content text not null,
  -- that may be in the room
  servers text[] not null,
  created_ts bigint not null,
  attempts int not null default 0,
  next_attempt_ts bigint not null,
  primary key (room, user_id)
);
create index untold_leave_next on untold_leave (next_attempt_ts);
comment on table untold_leave is 'Leaves of rooms of other servers that no server has taken yet. Deleted when one has, or does not allow it, or the user has another membership; by the clean-up after a day.';
