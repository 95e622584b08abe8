-- A transaction that its destination refuses for ever must not hold back all that comes after it: what is in it is sent
-- one by one then, and what is refused alone for long is given up.
alter table destination
  -- one PDU or EDU a transaction, until nothing more waits
  add column is_split boolean not null default false,
  -- PDUs and EDUs that it refused for too long
  add column given_up int not null default 0;
alter table destination_transaction
  -- how often the destination has said that it does not take what is in it, and since when
  add column refusals int not null default 0,
  add column refused_ts bigint;
