import type { Kysely } from 'kysely'
import { EventNumbers } from './event-numbers.js'
import { Events } from './events.js'
import type { LogTables } from './log-tables.js'
import { createMemory, type Memory } from './memory.js'
import { RoomNames } from './room-names.js'
import { StateKeys } from './state-keys.js'
import { States } from './states.js'

/** Reading of rooms: each with its part of the memory. Writing is the log writer's alone. */
export interface Stores {
  readonly db: Kysely<LogTables>
  readonly memory: Memory
  readonly names: RoomNames
  readonly keys: StateKeys
  readonly events: Events
  readonly states: States
  readonly eventNumbers: EventNumbers
}

export function createStores(db: Kysely<LogTables>, options: { cacheMb: number; identityKey: Uint8Array }): Stores {
  const memory = createMemory(options.cacheMb)
  const names = new RoomNames(db)
  return {
    db,
    memory,
    names,
    keys: new StateKeys(db, memory),
    events: new Events(db, memory, names),
    states: new States(db, memory, options.identityKey),
    eventNumbers: new EventNumbers(db as unknown as Kysely<unknown>),
  }
}
