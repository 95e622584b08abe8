import { join } from 'node:path'
import { mkdirSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { sql } from 'kysely'
import { makeDatabase } from '../../test/support/make-database.js'
import { register } from '../../test/support/test-user.js'
import { freePort } from '../../test/support/free-port.js'
import { linkOfPorts } from '../../test/support/link.js'
import { ServerProcess } from './server-process.js'
import type { Fate, Server, Surroundings } from './server.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const START_MS = 120_000
const fates: readonly Fate[] = ['accepted', 'soft-failed', 'rejected']

/** Hearth as an operator runs it: a process of its own, configured by its environment, on a database of its own. */
export async function startHearth({ folder, tls }: Surroundings): Promise<Server> {
  const database = await makeDatabase({ max: 2 })
  const [port, clients, servers] = [await freePort(), await freePort(), await freePort()]
  const name = `localhost:${port}`
  const link = linkOfPorts(port, servers)
  const dataDir = join(folder, 'hearth')
  mkdirSync(dataDir)
  const baseUrl = `http://127.0.0.1:${clients}`
  const command = {
    program: process.execPath,
    args: ['--import', join(root, 'test/support/register-typescript.js'), join(root, 'src/main.ts')],
    folder: dataDir,
    logFile: join(folder, 'hearth.log'),
    environment: {
      SERVER_NAME: name,
      LISTEN: `127.0.0.1:${clients}`,
      TLS_LISTEN: `127.0.0.1:${servers}`,
      TLS_CERT_FILE: tls.cert,
      TLS_KEY_FILE: tls.key,
      TRUSTED_CA_FILE: tls.ca,
      OUTBOUND_ALLOW: 'all',
      DATABASE_URL: database.url,
      DATA_DIR: dataDir,
      REGISTRATION: 'open',
      RATE_LIMITS: 'off',
      LOG_FORMAT: 'json',
      LOG_LEVEL: 'debug',
    },
  }
  let running = new ServerProcess(command)
  const stop = async () => {
    await link.cut()
    await running.stop()
    await database.drop()
  }
  try {
    await running.answers(baseUrl, START_MS)
    await link.mend()
  } catch (error) {
    await stop()
    throw error
  }
  return {
    kind: 'Hearth',
    name,
    link,
    user: (localpart = `user-${randomBytes(4).toString('hex')}`) => register(baseUrl, localpart),
    async extremities(roomId) {
      const { rows } = await sql<{ event_id: string }>`
        select event_id from room join event on event.room = room.room and event.event = any(forward_extremities)
        where room_id = ${roomId}
      `.execute(database.db)
      return rows.map(({ event_id }) => event_id)
    },
    async fates(roomId) {
      const { rows } = await sql<{ event_id: string; fate: number }>`
        select event_id, fate from room join event using (room)
        where room_id = ${roomId} and state_before is not null
      `.execute(database.db)
      return new Map(rows.map(({ event_id, fate }) => [event_id, fates[fate]!]))
    },
    async restart() {
      await running.stop()
      running = new ServerProcess(command)
      await running.answers(baseUrl, START_MS)
    },
    stop,
  }
}
