/**
 * Which state keys are members. Lazy-loading leaves nearly all of a large room's state out, and must tell it apart
 * without loading it. Numbers of state keys are dense, so a byte for each is enough.
 */
import { sql, type Kysely } from 'kysely'
import type { StateKeyNumber } from '../protocol/numbers.js'
import type { LogTables } from './log-tables.js'

const UNKNOWN = 0
const MEMBER = 1
const OTHER = 2
const PAGE = 65_536

export class StateKeyKinds {
  private readonly pages = new Map<number, Uint8Array>()

  constructor(private readonly db: Kysely<LogTables>) {}

  /** Those of the keys that are not `m.room.member`. One statement for all that were never seen. */
  async others(keys: readonly StateKeyNumber[]): Promise<StateKeyNumber[]> {
    const unknown = keys.filter((key) => this.kind(key) === UNKNOWN)
    if (unknown.length > 0) await this.load(unknown)
    return keys.filter((key) => this.kind(key) === OTHER)
  }

  private kind(key: StateKeyNumber): number {
    return this.pages.get(Math.floor(key / PAGE))?.[key % PAGE] ?? UNKNOWN
  }

  private async load(keys: StateKeyNumber[]): Promise<void> {
    const { rows } = await sql<{ state_key: StateKeyNumber; member: boolean }>`
      select state_key, type = ${Buffer.from('m.room.member')} as member from state_key
      where state_key = any(${keys}::bigint[])
    `.execute(this.db)
    for (const { state_key, member } of rows) {
      const number = Math.floor(state_key / PAGE)
      let page = this.pages.get(number)
      if (page === undefined) this.pages.set(number, (page = new Uint8Array(PAGE)))
      page[state_key % PAGE] = member ? MEMBER : OTHER
    }
  }
}
