import type { PostponeReason } from './counters.js'

/** A limit was reached: ResolutionTooCostly and its kin, which is no verdict either. */
export const isTooCostly = (cause: unknown): cause is Error => cause instanceof Error && /TooCostly$/.test(cause.name)

/**
 * A PDU cannot be decided now: peers do not answer, or a limit is reached. It is no verdict, for that has to be the same
 * on every server; the PDU stays staged and is tried again, later and with more.
 */
export class NotNow extends Error {
  override readonly name = 'NotNow'
  constructor(
    readonly kind: PostponeReason,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options)
  }
}
