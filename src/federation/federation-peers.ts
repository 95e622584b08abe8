/** Other servers as the room engine asks them, over HTTP. See `Peers`. */
import { isEventId } from '../protocol/identifiers.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import { partsOf } from '../protocol/json-texts.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'
import type { EventAt, Gap, PduText, Peers, RoomTime, StateEvents, StateIds } from '../room/inbound/peers.js'
import { queryString } from './asking.js'
import { RemoteError, Unreachable, type Remote, type RemoteRequest } from './remote.js'

/** The states and auth chains of the largest rooms have some hundred thousand events. */
const MAX_STATE_BYTES = 256 * 1024 * 1024
const STATE_TIMEOUT = 5 * 60_000
/** A message of a user waits for it. */
const POLICY_TIMEOUT = 10_000

export class FederationPeers implements Peers {
  constructor(
    private readonly remote: Remote,
    private readonly serverKeys: Pick<Peers, 'keys'>,
  ) {}

  async event(server: string, eventId: string, signal: AbortSignal): Promise<PduText | undefined> {
    const request = { method: 'GET', path: `${v1}/event/${encodeURIComponent(eventId)}` } as const
    try {
      return (await this.#pdus(server, request, signal, 'pdus')).pdus[0]
    } catch (cause) {
      if (cause instanceof RemoteError && cause.status === 404) return undefined
      throw cause
    }
  }

  async missingEvents(server: string, roomId: string, gap: Gap, signal: AbortSignal): Promise<readonly PduText[]> {
    const content = {
      earliest_events: gap.earliest,
      latest_events: gap.latest,
      limit: gap.limit,
      min_depth: gap.minDepth,
    }
    const path = `${v1}/get_missing_events/${encodeURIComponent(roomId)}`
    return (await this.#pdus(server, { method: 'POST', path, content }, signal, 'events')).events
  }

  async stateIds(server: string, roomId: string, eventId: string, signal: AbortSignal): Promise<StateIds> {
    const path = `${v1}/state_ids/${encodeURIComponent(roomId)}?event_id=${encodeURIComponent(eventId)}`
    const answer = await this.#object(server, { method: 'GET', path, maxBytes: MAX_STATE_BYTES }, signal)
    return { stateIds: eventIds(server, answer, 'pdu_ids'), authChainIds: eventIds(server, answer, 'auth_chain_ids') }
  }

  async state(server: string, roomId: string, eventId: string, signal: AbortSignal): Promise<StateEvents> {
    const path = `${v1}/state/${encodeURIComponent(roomId)}?event_id=${encodeURIComponent(eventId)}`
    const request = { method: 'GET', path, maxBytes: MAX_STATE_BYTES, timeout: STATE_TIMEOUT } as const
    const answer = await this.#pdus(server, request, signal, 'pdus', 'auth_chain')
    return { state: answer.pdus, authChain: answer.auth_chain }
  }

  async eventAuth(server: string, roomId: string, eventId: string, signal: AbortSignal): Promise<readonly PduText[]> {
    const path = `${v1}/event_auth/${encodeURIComponent(roomId)}/${encodeURIComponent(eventId)}`
    const request = { method: 'GET', path, maxBytes: MAX_STATE_BYTES, timeout: STATE_TIMEOUT } as const
    return (await this.#pdus(server, request, signal, 'auth_chain')).auth_chain
  }

  async backfill(
    server: string,
    roomId: string,
    eventIds: readonly string[],
    limit: number,
    signal: AbortSignal,
  ): Promise<readonly PduText[]> {
    const query = [...eventIds.map((eventId) => `v=${encodeURIComponent(eventId)}`), `limit=${limit}`].join('&')
    const path = `${v1}/backfill/${encodeURIComponent(roomId)}?${query}`
    return (await this.#pdus(server, { method: 'GET', path }, signal, 'pdus')).pdus
  }

  async closestEvent(
    server: string,
    roomId: string,
    { ts, backwards }: RoomTime,
    signal: AbortSignal,
  ): Promise<EventAt | undefined> {
    const query = queryString({ ts, dir: backwards ? 'b' : 'f' })
    const path = `${v1}/timestamp_to_event/${encodeURIComponent(roomId)}?${query}`
    try {
      const answer = await this.#object(server, { method: 'GET', path }, signal)
      const [eventId, found] = [ownString(answer, 'event_id') ?? '', own(answer, 'origin_server_ts')]
      if (!isEventId(eventId) || !Number.isSafeInteger(found))
        throw new Unreachable(server, 'the answer names no event')
      return { eventId, ts: found as number }
    } catch (cause) {
      if (cause instanceof RemoteError && cause.status === 404) return undefined
      throw cause
    }
  }

  keys(server: string, keyIds: readonly string[], validAt: number, signal: AbortSignal) {
    return this.serverKeys.keys(server, keyIds, validAt, signal)
  }

  async policySignature(server: string, pdu: JsonObject, signal: AbortSignal): Promise<string | undefined> {
    const path = '/_matrix/policy/v1/sign'
    try {
      const request = { method: 'POST', path, content: pdu, timeout: POLICY_TIMEOUT } as const
      const signatures = own(await this.#object(server, request, signal), server)
      return isObject(signatures) ? ownString(signatures, 'ed25519:policy_server') : undefined
    } catch (cause) {
      if (cause instanceof RemoteError && refusals.has(cause.status)) return undefined
      throw cause
    }
  }

  async #object(server: string, request: RemoteRequest, signal: AbortSignal): Promise<JsonObject> {
    const text = await this.remote.request(server, request, signal)
    return wellFormed(server, () => {
      const { value } = parseJson(text)
      if (!isObject(value)) throw new JsonError('wrong-type')
      return value
    })
  }

  /** The elements of these members, all of which the answer must have. What else it holds takes no memory. */
  async #pdus<K extends string>(
    server: string,
    request: RemoteRequest,
    signal: AbortSignal,
    ...keys: readonly K[]
  ): Promise<Record<K, PduText[]>> {
    const pdus = Object.fromEntries(keys.map((key) => [key, []])) as unknown as Record<K, PduText[]>
    const cutter = partsOf({ elements: keys })
    for await (const chunk of await this.remote.stream(server, request, signal)) {
      for (const { key, text } of wellFormed(server, () => cutter.push(chunk as string))) pdus[key as K].push(text)
    }
    wellFormed(server, () => cutter.end())
    const absent = keys.find((key) => !cutter.has(key))
    if (absent !== undefined) throw new Unreachable(server, `the answer has no ${absent}`)
    return pdus
  }
}

const v1 = '/_matrix/federation/v1'

/** "The Policy Server MAY respond with any of the defined errors to indicate failure", of which 429 alone passes. */
const refusals = new Set([400, 403, 404])

function eventIds(server: string, answer: JsonObject, key: string): readonly string[] {
  const ids = own(answer, key)
  if (Array.isArray(ids) && ids.every((id: Json) => typeof id === 'string' && isEventId(id))) return ids as string[]
  throw new Unreachable(server, `${key} of the answer is not a list of event ids`)
}

function wellFormed<T>(server: string, read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause
    throw new Unreachable(server, `the answer is malformed: ${cause.message}`, { cause })
  }
}
