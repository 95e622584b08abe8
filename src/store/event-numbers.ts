/**
 * Numbers for new events, taken from the database in blocks, so that an event can be built, and refer to itself in the
 * state after it, before it is written. Numbers of events that were never written are lost, which means nothing.
 */
import { sql, type Kysely } from 'kysely'
import type { EventNumber } from '../protocol/numbers.js'

/** The increment of the sequence `event_number`. */
const block = 1_000

export class EventNumbers {
  private next = 0
  private end = 0
  private spare: number | undefined
  private refilling: Promise<void> | undefined

  constructor(private readonly db: Kysely<unknown>) {}

  /** The next number at hand; undefined when a block has to be fetched first. */
  take(): EventNumber | undefined {
    if (this.next === this.end && this.spare !== undefined) {
      this.next = this.spare
      this.end = this.spare + block
      this.spare = undefined
    }
    if (this.spare === undefined && this.end - this.next < block / 2) this.refill().catch(() => undefined)
    return this.next < this.end ? (this.next++ as EventNumber) : undefined
  }

  refill(): Promise<void> {
    this.refilling ??= this.fetch().finally(() => (this.refilling = undefined))
    return this.refilling
  }

  private async fetch(): Promise<void> {
    const { rows } = await sql<{ first: number }>`select nextval('event_number') as first`.execute(this.db)
    this.spare = rows[0]!.first
  }
}
