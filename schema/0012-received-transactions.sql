-- What other servers send and ask for.

-- An answer that was lost on its way: the sender tries the same transaction again until it has one.
create table received_transaction (
  origin text collate "C" not null,
  -- as the origin calls it: first 16 bytes of the SHA-256 of the transaction id, which may be of any length
  key bytea not null,
  -- "pdus" of the answer
  answer text not null,
  created_ts bigint not null,
  primary key (origin, key)
);
create index received_transaction_created on received_transaction (created_ts);
comment on table received_transaction is 'Answers to PUT /send/{txnId}. Written by src/store/received-transactions.ts when the PDUs are staged. Deleted by the clean-up worker after a day.';

-- GET /timestamp_to_event/{roomId}; outliers have no place in a timeline
create index event_by_time on event (room, origin_server_ts, event) where anchor is not null;
