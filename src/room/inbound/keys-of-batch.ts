import type { RoomVersionRules } from '../../protocol/room-versions.js'
import type { Asking } from './asking.js'
import type { VerifyKey } from './peers.js'
import type { Pdu } from './read-pdu.js'
import { keyIdsOf, signersOf } from './signatures.js'

export type KeysOf = (server: string) => Promise<ReadonlyMap<string, VerifyKey>>

/** So many keys nobody has: what a batch made up beyond it is not asked for. */
const MAX_KEY_IDS = 100

/** The keys a batch of PDUs was signed with, asked for once a server; who needs those of one does not wait for another. */
export function keysOfBatch(asking: Asking, rules: RoomVersionRules, pdus: readonly Pdu[]): KeysOf {
  const wanted = new Map<string, { keyIds: Set<string>; validAt: number }>()
  for (const { event } of pdus) {
    for (const server of signersOf(rules, event)) {
      const known = wanted.get(server) ?? { keyIds: new Set(), validAt: 0 }
      for (const keyId of keyIdsOf(event, server)) if (known.keyIds.size < MAX_KEY_IDS) known.keyIds.add(keyId)
      known.validAt = Math.max(known.validAt, event.originServerTs)
      wanted.set(server, known)
    }
  }
  const asked = new Map<string, Promise<ReadonlyMap<string, VerifyKey>>>()
  return (server) => {
    const before = asked.get(server)
    if (before !== undefined) return before
    const { keyIds, validAt } = wanted.get(server) ?? { keyIds: new Set<string>(), validAt: 0 }
    const keys = asking.keys(server, [...keyIds], validAt)
    asked.set(server, keys)
    return keys
  }
}
