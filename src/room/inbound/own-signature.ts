/** Our signature on an event of another server: on an invite of one of our users, or a join that one of them lets in. */
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import type { OwnServer } from '../build-event.js'
import type { KeysOf } from './keys-of-batch.js'
import type { Pdu } from './read-pdu.js'
import { withSignature } from './signatures.js'

/** What the event is has to be checked before: whoever has our signature on it can show it to everybody. */
export async function signAsWell({ name, signatures }: OwnServer, rules: RoomVersionRules, pdu: Pdu): Promise<Pdu> {
  const signature = await signatures.sign(pdu.essential)
  return withSignature(rules, pdu, name, signatures.key.keyId, signature)
}

/** Nobody is asked for the key with which we just signed. */
export function keysWithOwn({ name, signatures: { key } }: OwnServer, others: KeysOf): KeysOf {
  const own = new Map([[key.keyId, { key: key.publicKey, validUntil: Number.MAX_SAFE_INTEGER }]])
  return (server) => (server === name ? Promise.resolve(own) : others(server))
}
