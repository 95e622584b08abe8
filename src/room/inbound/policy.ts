/**
 * Check 7 on receipt of a PDU: does the room's policy server, if it has one, recommend the event? It is asked before the
 * event goes to the room's lane, where there is no network.
 * https://spec.matrix.org/v1.19/server-server-api/#policy-servers
 */
import { LRUCache } from 'lru-cache'
import { decodeBase64 } from '../../protocol/base64.js'
import { isObject, own, ownString, type JsonObject } from '../../protocol/json.js'
import type { RoomEvent } from '../../protocol/room-event.js'
import { allow, reject, type Verdict } from '../../protocol/verdict.js'
import { joinedOfServer } from '../../store/memberships.js'
import type { KnownRoom } from '../known-room.js'
import type { Rooms } from '../rooms.js'
import type { Asking } from './asking.js'
import { NotNow } from './not-now.js'
import type { Pdu } from './read-pdu.js'
import { hasSignature, withSignature } from './signatures.js'

export interface PolicyServer {
  readonly name: string
  readonly key: Uint8Array
}

/** The Key ID for the ed25519 key in m.room.policy is always this. */
const KEY_ID = 'ed25519:policy_server'

export class PolicyServers {
  /** Whether a server has joined users, for a while: it is asked for every event, and costs a look at the members. */
  private readonly joined = new LRUCache<string, boolean>({ max: 1_000, ttl: 30_000 })

  constructor(
    private readonly rooms: Pick<Rooms, 'currentState' | 'deps'>,
    private readonly asking: Asking,
  ) {}

  /** undefined: the room uses none. */
  async of(name: KnownRoom): Promise<PolicyServer | undefined> {
    const event = await this.rooms.currentState(name, 'm.room.policy', '')
    const named = event && policyServerOf(event.event.content)
    return named !== undefined && (await this.isJoined(name, named.name)) ? named : undefined
  }

  private async isJoined(name: KnownRoom, server: string): Promise<boolean> {
    const key = `${name.room} ${server}`
    const known = this.joined.get(key)
    if (known !== undefined) return known
    const joined = (await joinedOfServer(this.rooms.deps.stores.db, name.room, server, 1)).length > 0
    this.joined.set(key, joined)
    return joined
  }

  /**
   * The verdict, and the PDU, which may have got the signature it lacked.
   * @throws NotNow when the server has too much to answer to be asked.
   */
  async check(policy: PolicyServer, rules: KnownRoom['rules'], pdu: Pdu): Promise<{ verdict: Verdict; pdu: Pdu }> {
    if (isPolicyItself(pdu.event)) return { verdict: allow, pdu }
    if (await hasSignature(pdu, policy.name, KEY_ID, policy.key)) return { verdict: allow, pdu }
    // If the Policy Server's signature is invalid or missing, the homeserver SHOULD ask for a new signature.
    const signature = await this.ask(policy, pdu)
    if (typeof signature !== 'string') return { verdict: signature, pdu }
    const signed = withSignature(rules, pdu, policy.name, KEY_ID, signature)
    return (await hasSignature(signed, policy.name, KEY_ID, policy.key))
      ? { verdict: allow, pdu: signed }
      : { verdict: reject('the policy server signed with another key than the room names'), pdu }
  }

  /** If the event still does not have a valid signature, the event is not recommended. Without having asked we cannot say. */
  private async ask({ name }: PolicyServer, pdu: Pdu): Promise<string | Verdict> {
    let isAsked = false
    try {
      const signature = await this.asking.ask(name, (peers, signal) => {
        isAsked = true
        return peers.policySignature(name, pdu.event.pdu, signal)
      })
      return signature ?? reject('the policy server does not recommend it')
    } catch (cause) {
      if (cause instanceof NotNow && isAsked) return reject(`the policy server was not heard: ${cause.message}`)
      throw cause
    }
  }
}

/** Because the Policy Server is not asked to sign m.room.policy state events with an empty string state_key. */
const isPolicyItself = ({ type, stateKey }: RoomEvent): boolean => type === 'm.room.policy' && stateKey === ''

/** Valid: a string `via`, an object `public_keys` with a string `ed25519`. */
function policyServerOf(content: JsonObject): PolicyServer | undefined {
  const via = ownString(content, 'via')
  const keys = own(content, 'public_keys')
  const encoded = isObject(keys) ? ownString(keys, 'ed25519') : undefined
  if (via === undefined || encoded === undefined) return undefined
  return { name: via, key: decodeBase64(encoded) ?? new Uint8Array() }
}
