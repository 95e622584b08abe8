/**
 * Auth events of another room. "If any event in auth_events has a room_id which does not match that of the event being
 * authorised, reject." Such an event is never held in this room, and whoever gives it to us proves what it is: its id, or
 * the hash beside its id, is a hash of it, with the room it is of. So the verdict is the same whoever gives it, and until
 * somebody does there is none.
 */
import { CanonicalJsonError } from '../../protocol/canonical-json.js'
import { encodeBase64 } from '../../protocol/base64.js'
import { referenceHash } from '../../protocol/hashes.js'
import { own, ownString, type JsonObject } from '../../protocol/json.js'
import { checkPduFormat, roomEventOf } from '../../protocol/pdu.js'
import type { RoomEvent } from '../../protocol/room-event.js'
import { roomVersionNames, rulesOf, type RoomVersionRules } from '../../protocol/room-versions.js'
import type { PduText } from './peers.js'
import { isDropped, parsePdu } from './read-pdu.js'

const allRules = roomVersionNames.map((version) => rulesOf(version)!)

export class OtherRooms {
  /** By the id of an event of another room, the reference hashes that prove it; undefined: the id is one itself. */
  private readonly proofs = new Map<string, string | undefined>()

  constructor(private readonly roomId: string) {}

  /** Whether this is an event of another room; if so, it is known from now on. */
  learn(eventId: string, text: PduText): boolean {
    const parsed = parsePdu(text)
    if (isDropped(parsed)) return false
    // Of which version the other room is, nobody says.
    const rules = allRules.find((rules) => isOf(rules, eventId, this.roomId, parsed.value))
    if (rules === undefined) return false
    const isHash = rules.eventIdFormat !== 'in-pdu'
    this.proofs.set(eventId, isHash ? undefined : encodeBase64(referenceHash(rules, parsed.value)))
    return true
  }

  /** The auth events of an event that are proved to be of other rooms. */
  among(event: RoomEvent): readonly string[] {
    return this.proofs.size === 0 ? [] : event.authEvents.filter((eventId) => this.isProved(event, eventId))
  }

  private isProved(event: RoomEvent, eventId: string): boolean {
    if (!this.proofs.has(eventId)) return false
    const hash = this.proofs.get(eventId)
    return hash === undefined || hash === referencedHash(event, eventId)
  }
}

function isOf(rules: RoomVersionRules, eventId: string, roomId: string, pdu: JsonObject): boolean {
  if (!checkPduFormat(rules, pdu).allowed) return false
  try {
    const event = roomEventOf(rules, pdu)
    return event.eventId === eventId && event.roomId !== roomId
  } catch (cause) {
    if (cause instanceof CanonicalJsonError) return false
    throw cause
  }
}

/** In versions 1 and 2 a reference is an id, which could be anybody's, and the hash of the event. */
function referencedHash({ pdu }: RoomEvent, eventId: string): string | undefined {
  const references = own(pdu, 'auth_events') as readonly unknown[]
  const reference = references.find((one) => Array.isArray(one) && one[0] === eventId) as
    readonly [string, JsonObject] | undefined
  return reference && ownString(reference[1], 'sha256')
}
