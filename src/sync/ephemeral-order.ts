import { randomBytes } from 'node:crypto'

/**
 * Numbers the changes of what is in the memory of this process only, typing and presence. A sync token says up to which
 * number, of which process, its client has been told.
 */
export class EphemeralOrder {
  /** Names this process and its start. */
  readonly process = randomBytes(6).toString('hex')
  /** The number of the newest change. */
  count = 0

  next(): number {
    return ++this.count
  }
}
