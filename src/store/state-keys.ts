/**
 * Interned `(type, state_key)`: what the state trie is keyed by.
 *
 * New numbers are written in a transaction of their own, before anything refers to them, so that the rollback of a batch
 * never takes a number away that a cache holds. Two processes that intern the same key at once agree on one number.
 */
import { sql, type Kysely } from 'kysely'
import type { StateKeyNumber } from '../protocol/numbers.js'
import { stateMapKey } from '../protocol/state-resolution/index.js'
import type { LogTables } from './log-tables.js'
import type { Memory } from './memory.js'

export type StateKeyPair = readonly [type: string, stateKey: string]

const cacheKey = ([type, key]: StateKeyPair): string => stateMapKey(type, key)

/**
 * Asked for in every room for every event of another server, whether the room has one or not. They get a number before
 * any event has them, so that to find that there is none takes no look into the database.
 */
const alwaysAskedFor = new Set([cacheKey(['m.room.server_acl', '']), cacheKey(['m.room.policy', ''])])

export class StateKeys {
  /** Keys being interned right now: one statement for all that wait. */
  private wanted = new Map<string, StateKeyPair>()
  private interning: Promise<void> | undefined

  constructor(
    private readonly db: Kysely<LogTables>,
    private readonly memory: Memory,
  ) {}

  /** The number at hand, without asking the database. */
  known(type: string, key: string): StateKeyNumber | undefined {
    return this.memory.stateKeys.get(cacheKey([type, key]))
  }

  /** Numbers of the keys that have one; a key that no event ever had is absent. */
  async find(pairs: readonly StateKeyPair[]): Promise<Map<string, StateKeyNumber>> {
    const found = new Map<string, StateKeyNumber>()
    const unknown: StateKeyPair[] = []
    for (const pair of pairs) {
      const number = this.known(...pair)
      if (number === undefined) unknown.push(pair)
      else found.set(cacheKey(pair), number)
    }
    for (const [key, number] of await this.select(unknown)) found.set(key, number)
    for (const pair of unknown) {
      const key = cacheKey(pair)
      if (alwaysAskedFor.has(key) && !found.has(key)) found.set(key, await this.intern(...pair))
    }
    return found
  }

  /** The number of a key, made if there is none. */
  async intern(type: string, key: string): Promise<StateKeyNumber> {
    const pair: StateKeyPair = [type, key]
    for (;;) {
      const number = this.known(type, key)
      if (number !== undefined) return number
      this.wanted.set(cacheKey(pair), pair)
      // Those who arrive while a statement runs wait for it and go with the next: a statement for all.
      if (this.interning !== undefined) await this.interning.catch(() => undefined)
      else await this.internWanted()
    }
  }

  private async internWanted(): Promise<void> {
    const pairs = [...this.wanted.values()]
    this.wanted = new Map()
    this.interning = this.insert(pairs)
    try {
      await this.interning
    } finally {
      this.interning = undefined
    }
  }

  private async insert(pairs: readonly StateKeyPair[]): Promise<void> {
    const missing = pairs.filter((pair) => this.known(...pair) === undefined)
    if (missing.length === 0) return
    await sql`
      insert into state_key (state_key, type, key)
      select nextval('state_key_number'), decode(type, 'hex'), decode(key, 'hex')
      from json_to_recordset(${recordset(missing)}) as wanted (type text, key text)
      order by type, key
      on conflict (type, key) do nothing
    `.execute(this.db)
    await this.select(missing)
  }

  private async select(pairs: readonly StateKeyPair[]): Promise<[string, StateKeyNumber][]> {
    if (pairs.length === 0) return []
    const { rows } = await sql<{ state_key: StateKeyNumber; type: Buffer; key: Buffer }>`
      select found.* from json_to_recordset(${recordset(pairs)}) as wanted (type text, key text),
        -- lateral and limited: an index look-up each; as a join it was planned as a scan of the whole table
        lateral (
          select * from state_key
          where state_key.type = decode(wanted.type, 'hex') and state_key.key = decode(wanted.key, 'hex') limit 1
        ) found
    `.execute(this.db)
    return rows.map((row) => {
      const key = cacheKey([row.type.toString('utf8'), row.key.toString('utf8')])
      this.memory.stateKeys.set(key, row.state_key)
      return [key, row.state_key]
    })
  }

  /** The pairs behind numbers, for reading whole states. */
  async pairs(numbers: readonly StateKeyNumber[]): Promise<Map<StateKeyNumber, StateKeyPair>> {
    if (numbers.length === 0) return new Map()
    const { rows } = await sql<{ state_key: StateKeyNumber; type: Buffer; key: Buffer }>`
      select * from state_key where state_key = any(${numbers as StateKeyNumber[]}::bigint[])
    `.execute(this.db)
    return new Map(rows.map((row) => [row.state_key, [row.type.toString('utf8'), row.key.toString('utf8')] as const]))
  }
}

export const stateKeyOf = cacheKey

const recordset = (pairs: readonly StateKeyPair[]): string =>
  JSON.stringify(
    pairs.map(([type, key]) => ({ type: Buffer.from(type).toString('hex'), key: Buffer.from(key).toString('hex') })),
  )
