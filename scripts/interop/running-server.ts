import { randomBytes } from 'node:crypto'
import type { RawBuilder } from 'kysely'
import type { MadeDatabase } from '../../test/support/make-database.js'
import type { Link } from '../../test/support/link.js'
import { register } from '../../test/support/test-user.js'
import { type Command, ServerProcess } from './server-process.js'
import type { Fate, Server } from './server.js'

export interface ToRun {
  readonly kind: Server['kind']
  readonly name: string
  readonly link: Link
  readonly database: MadeDatabase
  readonly command: Command
  /** For clients. */
  readonly baseUrl: string
  /** How long it may take until it answers, in ms. */
  readonly patience: number
  /** Its database's word on a room; one query each. */
  extremitiesOf(roomId: string): RawBuilder<{ event_id: string }>
  fatesOf(roomId: string): RawBuilder<{ event_id: string; fate: Fate }>
}

/** A process that answers, with its link mended. It takes its database along when it is stopped. */
export async function runServer(toRun: ToRun): Promise<Server> {
  const { kind, name, link, database, command, baseUrl, patience, extremitiesOf, fatesOf } = toRun
  let running = new ServerProcess(command)
  const stop = async () => {
    await link.cut()
    await running.stop()
    await database.drop()
  }
  try {
    await running.answers(baseUrl, patience)
    await link.mend()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    kind,
    name,
    link,
    user: (localpart = `user-${randomBytes(4).toString('hex')}`) => register(baseUrl, localpart),
    async extremities(roomId) {
      const { rows } = await extremitiesOf(roomId).execute(database.db)
      return rows.map(({ event_id }) => event_id)
    },
    async fates(roomId) {
      const { rows } = await fatesOf(roomId).execute(database.db)
      return new Map(rows.map(({ event_id, fate }) => [event_id, fate]))
    },
    async restart() {
      await running.stop()
      running = new ServerProcess(command)
      await running.answers(baseUrl, patience)
    },
    stop,
  }
}
