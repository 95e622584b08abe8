/** What servers of the laboratory send to those endpoints by which their users come into rooms. */
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import { numbersOf } from '../../src/protocol/hashes.js'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { finishEvent } from '../../src/protocol/signing.js'
import { labServer } from './laboratory/index.js'

export const path = (...segments: readonly string[]) =>
  `/_matrix/federation/${segments.map(encodeURIComponent).join('/')}`

export interface SignedPdu {
  readonly eventId: string
  readonly pdu: JsonObject
  readonly text: string
}

let made = 0

/** The event a server of the laboratory makes of a template, or of anything else; keys that are undefined are left out. */
export function signed(version: string, server: string, pdu: Readonly<Record<string, Json | undefined>>): SignedPdu {
  const rules = rulesOf(version)!
  const { name, key } = labServer(server)
  const id = rules.eventIdFormat === 'in-pdu' ? { event_id: `$handshake${++made}:${name}` } : {}
  const { eventId, pdu: finished } = finishEvent(rules, { ...id, ...pdu }, name, key)
  return { eventId, pdu: finished, text: canonicalJson(finished, numbersOf(rules)) }
}
