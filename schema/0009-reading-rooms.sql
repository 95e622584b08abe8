-- What reading a room's history asks: which events stand after a gap, and when the users of a server were in the room.
create index backward_extremity_of_event on backward_extremity (room, event);
create index past_membership_of_room on past_membership (room, membership);
