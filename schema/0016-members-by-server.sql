-- The users of one server among the members of a room, of which there may be hundreds of thousands: asked for whenever a
-- server reads or sends something, for its own users as for ours.
create index membership_of_server on membership (room, substr(user_id, strpos(user_id, ':') + 1))
  where membership = 'join';
create index past_membership_of_server on past_membership (room, substr(user_id, strpos(user_id, ':') + 1))
  where membership = 'join';
