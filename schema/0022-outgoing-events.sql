-- What waits for a destination is found by this index alone, also in a database of which Postgres knows nothing yet, such
-- as that of a server whose first room is one of ten thousand members. By the room itself, as a column, it took one of
-- those that begin with it, and looked at all events of the room for each destination.
drop index event_outgoing;
create index event_outgoing on event ((room::bigint), position) where is_outgoing;
