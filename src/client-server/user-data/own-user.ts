import type { Requester } from '../../accounts/requester.js'
import { forbidden } from '../../protocol/matrix-error.js'

/** @throws MatrixError 403 unless the user in the path is the requester. */
export function requireOwn(requester: Requester, userId: string): void {
  if (requester.userId !== userId) throw forbidden('You can do this for yourself only')
}
