/** What became of the EDUs of other servers since the process started, for tests and metrics. */
export type EduDropReason =
  | 'format'
  | 'other server'
  | 'room unknown'
  | 'denied by server ACL'
  | 'not joined'
  /** A receipt of an event we do not have, or that is not in the thread, or of one before the user's last. */
  | 'no news'
  /** Came before. */
  | 'known'
  | 'too much'
  | 'fault'

export class EduCounters {
  /** By type, dropped ones included; of types that are not looked at, under 'ignored'. */
  readonly received: Record<string, number> = {}
  readonly dropped: Partial<Record<EduDropReason, number>> = {}

  countReceived(type: string): void {
    this.received[type] = (this.received[type] ?? 0) + 1
  }

  countDropped(reason: EduDropReason): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + 1
  }
}
