/**
 * The checks performed on receipt of a PDU, in their order.
 * https://spec.matrix.org/v1.19/server-server-api/#checks-performed-on-receipt-of-a-pdu
 *
 * | check | failing means | where |
 * | --- | --- | --- |
 * | 1 is a valid event of the room version | dropped | read-pdu.ts |
 * | 2 passes signature checks | dropped | signatures.ts, with keys from peers |
 * | 3 passes hash checks | redacted, goes on | here |
 * | 4 auth rules on its auth events | rejected | the room's lane: `rooms.receive` |
 * | 5 auth rules on the state before it | rejected | the room's lane |
 * | 6 auth rules on the current state | soft-failed | the room's lane |
 * | 7 validated by the policy server | soft-failed | policy.ts, asked before, since the lane knows no network |
 *
 * Staged PDUs, missing events, states and auth chains of peers, backfilled history: all pass here.
 */
import { contentHashMatches } from '../../protocol/hashes.js'
import { redactedEvent } from '../../protocol/pdu.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import type { Verdict } from '../../protocol/verdict.js'
import { isPauseDue, pause } from '../../store/pauses.js'
import type { Arrival, Received } from '../arrival.js'
import type { KnownRoom } from '../known-room.js'
import type { InboundDeps } from './inbound-deps.js'
import type { KeysOf } from './keys-of-batch.js'
import { drop, isDropped, parsePdu, readPdu, type Dropped, type Pdu } from './read-pdu.js'
import { lacksSignature, wrongSignature } from './signatures.js'
import type { PduText } from './peers.js'

/** Check 1, and of check 2 what needs no keys. */
export function readSignedPdu(rules: RoomVersionRules, roomId: string, text: PduText): Pdu | Dropped {
  const parsed = parsePdu(text)
  if (isDropped(parsed)) return parsed
  const pdu = readPdu(rules, roomId, parsed.value)
  if (isDropped(pdu)) return pdu
  const lacking = lacksSignature(rules, pdu.event)
  return lacking === undefined ? pdu : drop('signature', lacking)
}

/** Checks 2 and 3. @throws NotNow when keys cannot be had. */
export async function checkPdu(
  { counters }: InboundDeps,
  rules: RoomVersionRules,
  pdu: Pdu,
  keys: KeysOf,
): Promise<Pdu | Dropped> {
  const wrong = await wrongSignature(rules, pdu, keys)
  if (wrong !== undefined) return drop('signature', wrong)
  // Of many, the signatures are verified on other threads, and found right in one moment.
  if (isPauseDue()) await pause()
  if (contentHashMatches(rules, pdu.event.pdu)) return pdu
  counters.redacted++
  return { ...redactedEvent(rules, pdu.event), essential: pdu.essential }
}

/** Check 7, where the room has a policy server. @throws NotNow when that has too much to answer. */
export async function checkPolicy(
  { policies }: InboundDeps,
  name: KnownRoom,
  pdu: Pdu,
): Promise<{ readonly pdu: Pdu; readonly policy?: Verdict }> {
  const policy = await policies.of(name)
  if (policy === undefined) return { pdu }
  const checked = await policies.check(policy, name.rules, pdu)
  return { pdu: checked.pdu, policy: checked.verdict }
}

export interface Checked {
  readonly pdu: Pdu
  readonly how: Omit<Arrival, 'event' | 'text'>
}

/** Checks 4 to 6, and the write: each alone, in this order, parents first. Settled after the commit. */
export async function receiveAll(
  deps: InboundDeps,
  name: KnownRoom,
  checked: readonly Checked[],
): Promise<PromiseSettledResult<Received>[]> {
  const arrivals = checked.map(({ pdu: { event, text }, how }) => ({ event, text, ...how }))
  const results = await deps.rooms.receiveAll(name, arrivals)
  for (const result of results) if (result.status === 'fulfilled') note(deps, name, result.value)
  return results
}

/** @throws what is no verdict: EventsUnknown, HeadMoved, and the limits. */
export async function receive(deps: InboundDeps, name: KnownRoom, checked: Checked): Promise<Received> {
  const [result] = await receiveAll(deps, name, [checked])
  if (result!.status === 'rejected') throw result!.reason
  return result!.value
}

function note({ counters, logger }: InboundDeps, { roomId }: KnownRoom, { kind, event }: Received): void {
  if (kind === 'known') {
    counters.known++
    return
  }
  const { fate, reason } = event
  counters.fates[fate]++
  if (fate !== 'accepted') logger.info({ room_id: roomId, event_id: event.event.eventId, fate, reason }, 'a PDU failed')
}
