/**
 * Hostile PDUs, judged by the functions that the checks on receipt are made of, without a database and without peers.
 * Through the whole of inbound they go in test/room/hostile-pdus.test.ts.
 */
import { describe, expect, it } from '@jest/globals'
import { checkAuthEvents } from '../../src/protocol/authorization/index.js'
import { contentHashMatches } from '../../src/protocol/hashes.js'
import { roomEventOf } from '../../src/protocol/pdu.js'
import { redact } from '../../src/protocol/redaction.js'
import type { RoomEvent } from '../../src/protocol/room-event.js'
import { roomVersionNames } from '../../src/protocol/room-versions.js'
import type { VerifyKey } from '../../src/room/inbound/peers.js'
import { isDropped } from '../../src/room/inbound/read-pdu.js'
import { readSignedPdu } from '../../src/room/inbound/receive-pdu.js'
import { wrongSignature } from '../../src/room/inbound/signatures.js'
import { fateIn, type HostileFate, hostilePdus, hostileRoom, type HostileRoom } from '../support/hostile-pdus.js'
import { labServer } from '../support/laboratory/index.js'

const keysOf = async (server: string): Promise<ReadonlyMap<string, VerifyKey>> => {
  const { key } = labServer(server)
  return new Map([[key.keyId, { key: key.publicKey, validUntil: Number.MAX_SAFE_INTEGER }]])
}

async function fateOf({ room, other }: HostileRoom, text: string): Promise<HostileFate> {
  const { rules, roomId, judged } = room
  const pdu = readSignedPdu(rules, roomId, text)
  if (isDropped(pdu) || (await wrongSignature(rules, pdu, keysOf)) !== undefined) return 'dropped'
  const isWhole = contentHashMatches(rules, pdu.event.pdu)
  const event = isWhole ? pdu.event : roomEventOf(rules, redact(rules, pdu.event.pdu), pdu.event.eventId)
  const find = (eventId: string) => judged.find(eventId) ?? other.judged.find(eventId)
  const parents = [...event.prevEvents, ...event.authEvents].map(find)
  if (parents.includes(undefined)) return 'staged'
  const list = event.authEvents.map((eventId) => find(eventId)!)
  const isRejected = ({ eventId }: RoomEvent) => find(eventId)!.verdict.allowed === false
  if (
    !checkAuthEvents(
      rules,
      event,
      list.map((one) => one.event),
      isRejected,
    ).allowed
  )
    return 'rejected'
  const { tips } = room
  if (!judged.add(event, pdu.text).verdict.allowed) return 'rejected'
  const current = judged.stateAfter(tips.map(({ eventId }) => eventId))
  if (!judged.authorize(event, current).allowed) return 'soft-failed'
  return isWhole ? 'accepted' : 'redacted'
}

describe.each(roomVersionNames)('in room version %s', (version) => {
  const rows = hostilePdus.filter((hostile) => fateIn(hostile, version) !== undefined)

  it.each(rows)('$sentence', async (hostile) => {
    const room = hostileRoom(version)
    const text = hostile.make(room)
    // It was made on the side, and is judged as something new.
    expect(await fateOf(room, text)).toBe(fateIn(hostile, version))
  })
})
