-- Events of other servers come in any order: a redaction may come before the event it redacts.

create table waiting_redaction (
  room int not null,
  -- the event it names, which we do not hold
  target_event_id text collate "C" not null,
  event bigint not null,
  primary key (room, target_event_id, event)
);
comment on table waiting_redaction is 'Redactions of events we do not hold. Written by the log writer. Deleted when the event they name is stored, or with the room.';

-- which events name a prev event as missing: asked of every event that arrives
create index backward_extremity_of_event on backward_extremity (room, event);
