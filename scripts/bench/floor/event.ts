/** An event as a homeserver would make it of a client's message, without a room: the references are of the usual size and lead nowhere. */

import { finishEvent, signingKeyFromSeed } from '../../../src/protocol/signing.js'
import { rulesOf } from '../../../src/protocol/room-versions.js'
import type { JsonObject } from '../../../src/protocol/json.js'
import type { Row } from './schema.js'

const rules = rulesOf('12')!
const key = signingKeyFromSeed('bench', Buffer.alloc(32, 7))
const reference = (letter: string) => `$${letter.repeat(43)}`

/** Canonical JSON, content hash, signature and event id. */
export function floorEvent(content: JsonObject, depth: number): Row {
  const pdu: JsonObject = {
    auth_events: [reference('a'), reference('b')],
    content,
    depth,
    origin_server_ts: Date.now(),
    prev_events: [reference('c')],
    room_id: `!${'r'.repeat(43)}`,
    sender: '@bench-0123abcd-1:localhost',
    type: 'm.room.message',
  }
  return finishEvent(rules, pdu, 'localhost', key)
}
