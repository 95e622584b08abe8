-- GET /event/{eventId} looks into the rooms of the server that asks. With this index, writing the row of an event cost half
-- as much again.
drop index event_by_id;
