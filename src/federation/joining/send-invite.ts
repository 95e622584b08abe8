/**
 * `PUT /invite`: the server of an invited user signs our event. Version 2, and version 1 for servers that know no other
 * and rooms of versions 1 and 2. https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room
 */
import { memberTexts, elementTexts } from '../../protocol/json-texts.js'
import type { JsonObject } from '../../protocol/json.js'
import { JsonError } from '../../protocol/strict-json.js'
import type { Pdu } from '../../room/inbound/read-pdu.js'
import type { PduText } from '../../room/inbound/peers.js'
import type { KnownRoom } from '../../room/known-room.js'
import { RemoteError, Unreachable, type Remote, type RemoteRequest } from '../remote.js'

/** Somebody waits for it. In ms. */
const TIMEOUT = 30_000

export interface InviteBody {
  readonly event: JsonObject
  /** State events that tell the user what room it is, as PDUs. */
  readonly told: readonly JsonObject[]
}

/** The event as that server signed it. @throws RemoteError, Unreachable */
export async function sendInvite(
  remote: Remote,
  server: string,
  { roomId, rules }: KnownRoom,
  { event: { eventId } }: Pdu,
  { event, told }: InviteBody,
): Promise<PduText> {
  const path = (version: 'v1' | 'v2') =>
    `/_matrix/federation/${version}/invite/${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}`
  const request = (version: 'v1' | 'v2', content: JsonObject): RemoteRequest => ({
    method: 'PUT',
    path: path(version),
    content,
    timeout: TIMEOUT,
    maxBytes: 1024 * 1024,
  })
  try {
    const content = { room_version: rules.version, event, invite_room_state: told }
    return eventIn(server, await remote.request(server, request('v2', content)))
  } catch (cause) {
    const isUnknown =
      cause instanceof RemoteError &&
      (cause.status === 404 || cause.status === 400) &&
      cause.errcode === 'M_UNRECOGNIZED'
    if (!isUnknown || !(rules.version === '1' || rules.version === '2')) throw cause
  }
  const content = { ...event, unsigned: { invite_room_state: told } }
  const [, answer] = elementsIn(server, await remote.request(server, request('v1', content)))
  return eventIn(server, answer ?? '')
}

function eventIn(server: string, text: string): PduText {
  const event = wellFormed(server, () => memberTexts(text)).get('event')
  if (event === undefined) throw new Unreachable(server, 'its answer to the invite has no event')
  return event
}

const elementsIn = (server: string, text: string): string[] => wellFormed(server, () => elementTexts(text))

function wellFormed<T>(server: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof JsonError) throw new Unreachable(server, 'its answer to the invite is malformed', { cause })
    throw cause
  }
}
