/**
 * Events of ours that somebody else has to sign before they are in the room: an invite of another server's user, and
 * everything in a room with a policy server. There is no
 * network inside a room's lane, so the event is made on the committed head, goes out, and comes back as any event we
 * receive does; by then it may stand beside others.
 */
import { forbidden, tooLarge } from '../protocol/matrix-error.js'
import type { JsonObject } from '../protocol/json.js'
import { finishEvent } from '../protocol/signing.js'
import { whenLoaded } from '../store/missing.js'
import { StateView } from '../store/state-view.js'
import type { Draft } from './draft.js'
import { isDropped, type Pdu } from './inbound/read-pdu.js'
import { readSignedPdu } from './inbound/receive-pdu.js'
import type { KnownRoom } from './known-room.js'
import { eventOn } from './membership-templates.js'
import type { PendingState } from './room.js'
import type { Rooms } from './rooms.js'
import { strippedTypes } from './stripped-state.js'

export interface ProposedEvent {
  readonly pdu: Pdu
  /** State events that say what room it is, and who the sender is in it, to somebody who is not in it. */
  readonly told: readonly JsonObject[]
}

/** @throws MatrixError 403 when the rules would refuse it, 413 */
export async function proposeEvent(
  rooms: Rooms,
  name: KnownRoom,
  draft: Draft,
  /** Refuses what the rules would allow. */
  check?: (state: PendingState) => void,
): Promise<ProposedEvent> {
  const { server, stores } = rooms.deps
  const head = await rooms.head(name)
  const view = new StateView(stores, name.room)
  const stateEvent = (type: string, key: string) => view.stateEvent(head.head.state, type, key)
  const unsigned = await whenLoaded(() => {
    check?.({ stateEvent, summary: head.summary })
    return eventOn(rooms, name, head, view, draft)
  })
  const { text } = finishEvent(name.rules, unsigned, server.name, server.signatures.key)
  const pdu = readSignedPdu(name.rules, name.roomId, text)
  if (isDropped(pdu)) throw pdu.dropped === 'format' ? tooLarge(`The event: ${pdu.why}`) : forbidden(pdu.why)
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
