import { join } from 'node:path'
import { mkdirSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { makeDatabase } from '../../test/support/make-database.js'
import { freePort } from '../../test/support/free-port.js'
import { linkOfPorts } from '../../test/support/link.js'
import { roomOfHearth } from './held-room.js'
import { runServer } from './running-server.js'
import type { Server, Surroundings } from './server.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const START_MS = 120_000

/** Hearth as an operator runs it: a process of its own, configured by its environment, on a database of its own. */
export async function startHearth({ folder, tls }: Surroundings): Promise<Server> {
  const database = await makeDatabase({ max: 2 })
  const [port, clients, servers] = [await freePort(), await freePort(), await freePort()]
  const name = `localhost:${port}`
  const dataDir = join(folder, 'hearth')
  mkdirSync(dataDir)
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
      PRESENCE: 'federated',
      LOG_FORMAT: 'json',
      LOG_LEVEL: 'debug',
    },
  }
  return runServer({
    kind: 'Hearth',
    name,
    link: linkOfPorts(port, servers),
    database,
    command,
    baseUrl: `http://127.0.0.1:${clients}`,
    patience: START_MS,
    roomOf: roomOfHearth,
  })
}
