/**
 * Who may redact: in v1 and v2 an authorisation rule, since v3 a condition for applying a redaction that is allowed as any
 * other event is. https://spec.matrix.org/v1.19/rooms/v11/#handling-redactions
 */
import type { RoomEvent } from '../room-event.js'
import type { RoomVersionRules } from '../room-versions.js'
import { type Verdict, allow, reject } from '../verdict.js'
import type { PowerLevels } from './power-levels.js'
import { sameServer } from './same-server.js'

/** Authorisation of `m.room.redaction` in v1 and v2. */
export function checkRedaction(event: RoomEvent, levels: PowerLevels): Verdict {
  // If the sender's power level is greater than or equal to the redact level, allow.
  if (levels.levelOf(event.sender) >= levels.redact) return allow

  // If the domain of the event_id of the event being redacted is the same as the domain of the event_id of the
  // m.room.redaction, allow.
  if (event.redacts !== undefined && sameServer(event.redacts, event.eventId)) return allow

  // Otherwise, reject.
  return reject('redaction: the sender is below the redact level, and the event is of another server')
}

/**
 * Whether an accepted redaction takes effect on the event it names, of which we hold both. `levels` are those in force at
 * the redaction. A redaction never reaches into another room.
 */
export function redactionApplies(
  rules: RoomVersionRules,
  redaction: RoomEvent,
  original: RoomEvent,
  levels: PowerLevels,
): boolean {
  if (redaction.roomId !== original.roomId || redaction.redacts !== original.eventId) return false

  // The specification does not say so, but before v11 a redacted create event has lost the version of its room and whether
  // it federates. Synapse applies none, so the room goes on alike.
  if (original.type === 'm.room.create') return false

  // v1, v2: decided by the authorisation rules.
  if (rules.redactionRule) return true

  // 1. The power level of the redaction event's sender is greater than or equal to the redact level.
  // 2. The domain of the redaction event's sender matches that of the original event's sender.
  return levels.levelOf(redaction.sender) >= levels.redact || sameServer(redaction.sender, original.sender)
}
