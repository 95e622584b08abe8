import { canonicalJson } from '../protocol/canonical-json.js'
import { numbersOf } from '../protocol/hashes.js'
import type { Json } from '../protocol/json.js'
import type { RoomVersionRules } from '../protocol/room-versions.js'

/** Whether events of a version can hold it: old versions take numbers that newer ones refuse. */
export function isPossible(rules: RoomVersionRules, value: Json): boolean {
  try {
    canonicalJson(value, numbersOf(rules))
    return true
  } catch {
    return false
  }
}
