-- State resolution asks hundreds of times in a row what stands on an event. Each such look reads the whole list of entries
-- that are not yet in the index (fastupdate): 12 ms each with the list at its limit of 4 MB, 0.1 ms without.
alter index event_auth_edges set (fastupdate = off);
