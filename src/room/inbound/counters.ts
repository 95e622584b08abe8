/** What became of the PDUs of other servers since the process started, for tests and metrics. */
import type { Fate } from '../../store/stored-event.js'

/** Why a PDU is as if it had never come. */
export type DropReason =
  | 'format'
  | 'room unknown'
  | 'other room'
  | 'denied by server ACL'
  | 'signature'
  | 'cycle'
  | 'too many staged'
  | 'not asked for'

/** Why a PDU stays staged, to be tried again. */
/** 'members': they are still to come, and what it stands on is not known without them. */
export type PostponeReason = 'members' | 'peers' | 'budget' | 'resolution' | 'auth events' | 'waits' | 'fault'

export class Counters {
  readonly fates: Record<Fate, number> = { accepted: 0, 'soft-failed': 0, rejected: 0 }
  readonly dropped: Partial<Record<DropReason, number>> = {}
  readonly postponed: Partial<Record<PostponeReason, number>> = {}
  /** Stored without what their content hash does not cover. */
  redacted = 0
  /** Came again. */
  known = 0
  staged = 0
  /** PDUs that peers were asked for. */
  fetched = 0

  countDropped(reason: DropReason): void {
    this.dropped[reason] = (this.dropped[reason] ?? 0) + 1
  }

  countPostponed(reason: PostponeReason): void {
    this.postponed[reason] = (this.postponed[reason] ?? 0) + 1
  }
}
