"""Reads rooms, one a line, judges their events with Synapse's own code, and prints where it judges otherwise.

See resolutions.ts, which runs this. Ends with 1 when something was printed.
"""

import json
import logging
import sys

import synapse.app.homeserver  # noqa: F401, first, since the modules below import each other
from synapse import event_auth
from synapse.api.errors import AuthError
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.events import make_event_from_dict
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference


class Clock:
    async def sleep(self, *_):
        pass


class Store:
    """What Synapse asks its database, from a dict."""

    def __init__(self):
        self.events = {}

    async def get_events(self, ids, redact_behaviour=None, get_prev_content=False, allow_rejected=False):
        found = {i: self.events[i] for i in ids if i in self.events}
        return {i: e for i, e in found.items() if allow_rejected or e.rejected_reason is None}

    def with_auth_chains(self, ids):
        seen, waiting = set(), list(ids)
        while waiting:
            event_id = waiting.pop()
            if event_id not in seen:
                seen.add(event_id)
                waiting.extend(self.events[event_id].auth_event_ids())
        return seen

    def with_descendants(self, ids):
        found = set(ids)
        for event in self.events.values():  # parents first
            if not found.isdisjoint(event.auth_event_ids()):
                found.add(event.event_id)
        return found

    async def get_auth_chain_difference(self, room_id, state_sets, conflicted, more_backwards):
        chains = [self.with_auth_chains(ids) for ids in state_sets]
        difference = set.union(*chains) - set.intersection(*chains)
        if conflicted is None:
            return StateDifference(difference, None)
        backwards = self.with_auth_chains(conflicted | (more_backwards or set()))
        return StateDifference(difference, backwards & self.with_descendants(conflicted))


async def resolve(version, room_id, states, store):
    different = [state for i, state in enumerate(states) if state not in states[:i]]
    if len(different) == 0:
        return {}
    if len(different) == 1:
        return different[0]
    if version.state_res == 1:
        return await v1.resolve_events_with_store(room_id, version, different, {}, store.get_events)
    return await v2.resolve_events_with_store(Clock(), room_id, version, different, {}, store)


async def reason_to_reject(version, event, before, store):
    try:
        await event_auth.check_state_independent_auth_rules(store, event)
        event_auth.check_state_dependent_auth_rules(event, [store.events[i] for i in event.auth_event_ids()])
        needed = event_auth.auth_types_for_event(version, event)
        event_auth.check_state_dependent_auth_rules(event, [store.events[before[k]] for k in needed if k in before])
    except AuthError as error:
        return str(error)


async def judge(room):
    """The first event that Synapse judges otherwise, and how often states were merged."""
    version = KNOWN_ROOM_VERSIONS[room["version"]]
    store, after, merges = Store(), {}, 0
    for told in room["events"]:
        pdu = json.loads(told["pdu"])
        event = make_event_from_dict(pdu, version)
        event_id = event.event_id
        if event_id != told["event_id"]:
            return f"{told['event_id']} is {event_id}", merges
        states = [after[prev] for prev in event.prev_event_ids()]
        merges += any(state != states[0] for state in states)
        state = dict(await resolve(version, event.room_id, states, store))
        reason = await reason_to_reject(version, event, state, store)
        store.events[event_id] = make_event_from_dict(pdu, version, None, reason)
        if (reason is None) != (told["rejected"] is None):
            return f"{event.type} {event_id}: {reason}, not {told['rejected']}", merges
        if reason is None and event.is_state():
            state[(event.type, event.state_key)] = event_id
        after[event_id] = state
        here, there = set(state.values()), set(told["after"])
        if here != there:
            return f"the state after {event.type} {event_id}: {here - there}, not {there - here}", merges
    return None, merges


def run(coroutine):
    """Nothing in it waits."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise RuntimeError("it waits")


logging.disable(logging.CRITICAL)
rooms = merges = different = 0
for line in sys.stdin:
    room = json.loads(line)
    difference, merged = run(judge(room))
    rooms, merges = rooms + 1, merges + merged
    if difference is not None:
        different += 1
        print(f"version {room['version']}, seed {room['seed']}: {difference}")
print(f"{rooms} rooms, {merges} merges: {different} are otherwise with Synapse")
sys.exit(1 if different > 0 else 0)
