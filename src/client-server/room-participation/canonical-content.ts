import { badJson } from '../../protocol/matrix-error.js'
import type { KnownRoom } from '../../room/known-room.js'

/** Since room version 6 an event may hold only the numbers that canonical JSON can write. @throws MatrixError 400 */
export function requireCanonical({ rules }: KnownRoom, nonCanonicalNumber: string | undefined): void {
  if (nonCanonicalNumber !== undefined && rules.strictCanonicalJson) {
    throw badJson(`Events of this room version cannot hold the number ${nonCanonicalNumber.slice(0, 100)}`)
  }
}
