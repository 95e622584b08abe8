/** `PUT /send_join/{roomId}/{eventId}`: the answer of a resident server to our join, cut up as it arrives. */
import type { JsonObject } from '../../protocol/json.js'
import { JsonError } from '../../protocol/strict-json.js'
import { partsOf } from '../../protocol/json-texts.js'
import type { PduText } from '../../room/inbound/peers.js'
import { Unreachable, type Remote } from '../remote.js'

export interface JoinAnswer {
  readonly state: readonly PduText[]
  readonly authChain: readonly PduText[]
  /** The join as the resident server signed it. */
  readonly event: PduText | undefined
}

/** A room of a hundred thousand members is answered by a hundred megabytes. */
const MAX_BYTES = 512 * 1024 * 1024
/** In ms. */
const TIMEOUT = 180_000

/** @throws RemoteError, Unreachable */
export async function sendJoin(
  remote: Remote,
  resident: string,
  roomId: string,
  eventId: string,
  content: JsonObject,
): Promise<JoinAnswer> {
  const path = `/_matrix/federation/v2/send_join/${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}`
  const request = { method: 'PUT', path, content, timeout: TIMEOUT, maxBytes: MAX_BYTES } as const
  const answer = await remote.stream(resident, request)
  const cutter = partsOf({ elements: ['state', 'auth_chain'], members: ['event'] })
  const texts: Record<string, PduText[]> = { state: [], auth_chain: [], event: [] }
  try {
    for await (const chunk of answer) for (const { key, text } of cutter.push(String(chunk))) texts[key]?.push(text)
    cutter.end()
  } catch (cause) {
    if (cause instanceof JsonError) throw new Unreachable(resident, 'its answer to the join is malformed', { cause })
    throw cause
  }
  return { state: texts.state!, authChain: texts.auth_chain!, event: texts.event![0] }
}
