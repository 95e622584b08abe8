-- Which event an invite to, or a knock on, a room that we do not hold is: a kick or a ban that arrives late names the one it
-- ended among its auth events, and must not take back a newer one.
-- null: the event is held, or the membership is from before this column.
alter table membership add column unheld_event_id text collate "C";
