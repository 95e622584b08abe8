import { randomBytes } from 'node:crypto'
import type { MadeDatabase } from '../../test/support/make-database.js'
import type { Link } from '../../test/support/link.js'
import { register } from '../../test/support/test-user.js'
import { type Command, ServerProcess } from './server-process.js'
import type { HeldRoom } from './held-room.js'
import type { Server } from './server.js'

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
  /** Its database's word on a room. */
  readonly roomOf: (db: MadeDatabase['db'], roomId: string) => Promise<HeldRoom>
}

/** A process that answers, with its link mended. It takes its database along when it is stopped. */
export async function runServer(toRun: ToRun): Promise<Server> {
  const { kind, name, link, database, command, baseUrl, patience, roomOf } = toRun
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
    room: (roomId) => roomOf(database.db, roomId),
    async restart() {
      await running.stop()
      running = new ServerProcess(command)
      await running.answers(baseUrl, patience)
    },
    stop,
  }
}
