-- When the users of a server were in a room: what the server may read depends on it.
create index past_membership_of_room on past_membership (room, membership);
