/**
 * Events made on the committed head, outside the room's lane: templates for the users of other servers, and events of ours
 * that somebody else has to sign before they are in the room, which are invites of another server's users and everything in
 * a room with a policy server. There is no network inside the lane, so such an event goes out and comes back as any event we
 * receive does; by then it may stand beside others.
 */
import { authEventKeys, authorize } from '../protocol/authorization/index.js'
import { forbidden } from '../protocol/matrix-error.js'
import { ownString, type JsonObject } from '../protocol/json.js'
import { MAX_PREV_EVENTS, roomEventOf } from '../protocol/pdu.js'
import { signedBy } from '../protocol/signing.js'
import { whenLoaded } from '../store/missing.js'
import { StateView } from '../store/state-view.js'
import {
  checkLimits,
  deepestFirst,
  hashedOf,
  pduOf,
  redactionTarget,
  redactsOf,
  type BuildingHead,
} from './build-event.js'
import type { Draft } from './draft.js'
import { isDropped, type Pdu } from './inbound/read-pdu.js'
import { readSignedPdu } from './inbound/receive-pdu.js'
import type { KnownRoom } from './known-room.js'
import type { PendingState } from './room.js'
import type { Rooms } from './rooms.js'
import { requireChange } from './state-in-place.js'
import { strippedTypes } from './stripped-state.js'

export interface ProposedEvent {
  readonly pdu: Pdu
  /** State events that say what room it is, and who the sender is in it, to somebody who is not in it. */
  readonly told: readonly JsonObject[]
}

/**
 * `isAlone`: nothing else is made with it, and it may be found to change nothing.
 * @throws MatrixError 403 when the rules would refuse it, 404 for a redaction of an event that is not here, 413, 400;
 *   StateInPlace.
 */
export async function proposeEvent(
  rooms: Rooms,
  name: KnownRoom,
  draft: Draft,
  /** Refuses what the rules would allow. */
  check?: (state: PendingState) => void,
  isAlone = false,
): Promise<ProposedEvent> {
  checkLimits(draft)
  const { server, stores } = rooms.deps
  // What it is made of has to be known.
  if (draft.type === 'm.room.member') await rooms.requireWhole(name)
  const redacts = redactsOf(name.rules, draft)
  const redacted = redacts === undefined ? undefined : await stores.events.byId(name.room, redacts)
  const head = await rooms.head(name)
  const view = new StateView(stores, name.room)
  const stateEvent = (type: string, key: string) => view.stateEvent(head.head.state, type, key)
  const unsigned = await whenLoaded(() => {
    check?.({ stateEvent, summary: head.summary })
    if (redacts !== undefined) redactionTarget({ rules: name.rules, view }, head, draft, redacted)
    const made = eventOn(rooms, name, head, view, draft)
    if (isAlone && draft.stateKey !== undefined) requireChange(stateEvent(draft.type, draft.stateKey), draft)
    return made
  })
  const hashed = hashedOf({ rules: name.rules, server }, unsigned)
  const { key } = server.signatures
  const { text } = signedBy(hashed, server.name, key.keyId, await server.signatures.sign(hashed.essential))
  const pdu = readSignedPdu(name.rules, name.roomId, text)
  if (isDropped(pdu)) throw forbidden(pdu.why)
  const told = await whenLoaded(() =>
    [...strippedTypes.map((type) => [type, ''] as const), ['m.room.member', draft.sender] as const].flatMap(
      ([type, key]) => {
        const stored = stateEvent(type, key)
        return stored === undefined ? [] : [stored.event.pdu]
      },
    ),
  )
  return { pdu, told }
}

/** An event on a head, not hashed and not signed. @throws MatrixError 403 when the rules would refuse it. */
export function eventOn(
  { deps }: Rooms,
  { rules, roomId }: KnownRoom,
  { head, extremities, create }: BuildingHead,
  view: StateView,
  draft: Draft,
): JsonObject {
  const lookUp = (type: string, key: string) => view.stateEvent(head.state, type, key)
  const prevEvents = deepestFirst(extremities).slice(0, MAX_PREV_EVENTS)
  const authEvents = authEventKeys(rules, { ...draft, stateKey: draft.stateKey }).flatMap(
    ([type, key]) => lookUp(type, key) ?? [],
  )
  const pdu = pduOf({ rules, roomId, server: deps.server, now: deps.now() }, prevEvents, draft, authEvents)
  // Versions 1 and 2 ask whether a redaction is of the server of its target.
  const event = roomEventOf(rules, pdu, ownString(pdu, 'event_id') ?? '$template')
  const verdict = authorize(rules, event, (type, key) => lookUp(type, key)?.event, create?.event)
  if (!verdict.allowed) throw forbidden(`The room does not let ${draft.sender} do this: ${verdict.reason}`)
  return pdu
}
