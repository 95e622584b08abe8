import { invalidParam } from './matrix-error.js'
import type { Position } from './numbers.js'

/**
 * The token of `/sync`: a position in the log, with what tells whether it is a position of this log at all.
 *
 * `s1_<position>_<epoch>_<process>_<count>`: 1 is the version of the log; the epoch changes when a restored backup or a
 * failover lost something; process and count say which typing notifications have been shown, in the memory of one process.
 * A fifth part is there when a device has more messages waiting than one answer holds: the position up to which it has them.
 */
export interface SyncToken {
  readonly position: Position
  readonly epoch: string
  readonly process: string
  readonly count: number
  /** Up to where the device has been sent its messages; absent when that is `position`. */
  readonly messages?: Position | undefined
}

const pattern = /^s1_(\d{1,15})_([0-9a-zA-Z]{1,32})_([0-9a-zA-Z]{1,32})_(\d{1,15})(?:_(\d{1,15}))?$/

export const formatSyncToken = ({ position, epoch, process, count, messages }: SyncToken): string =>
  `s1_${position}_${epoch}_${process}_${count}${messages === undefined ? '' : `_${messages}`}`

/** @throws MatrixError 400 for what never was a token of this server. */
export function parseSyncToken(text: string): SyncToken {
  const match = pattern.exec(text)
  if (match === null) throw invalidParam('This is not a token of this server')
  const [, position, epoch, process, count, messages] = match
  return {
    position: Number(position) as Position,
    epoch: epoch!,
    process: process!,
    count: Number(count),
    messages: messages === undefined ? undefined : (Number(messages) as Position),
  }
}
