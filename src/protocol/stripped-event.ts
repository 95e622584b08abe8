import { canonicalJson } from './canonical-json.js'
import type { RoomEvent } from './room-event.js'

/**
 * A state event as who is not in the room gets it, with an invite or a knock. In canonical form, so that the same event
 * has the same text whenever it is written: what a redaction takes away is found by it.
 * https://spec.matrix.org/v1.19/client-server-api/#stripped-state
 */
export const strippedText = ({ type, stateKey, sender, content }: RoomEvent): string =>
  canonicalJson({ type, state_key: stateKey, sender, content }, 'any')
