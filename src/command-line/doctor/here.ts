import type { Config } from '../../config.js'
import { isObject, own } from '../../protocol/json.js'
import { isWithoutDatabase, jsonOf, WITHOUT_DATABASE } from './answers.js'
import { doubt, type Finding, good, skipped } from './finding.js'

const TIMEOUT = 3_000
const ABOUT = 'This machine'

/** Whether the server of this configuration runs here, as LISTEN answers. */
export async function hereFinding({ serverName, http }: Pick<Config, 'serverName' | 'http'>): Promise<Finding> {
  if (http.listen.port === 0) return skipped(ABOUT, 'LISTEN has port 0, so whether the server runs here is not known')
  const address = `http://${reachable(http.listen.host)}:${http.listen.port}`
  const answered = await answerAt(`${address}/_matrix/key/v2/server`)
  if (answered === undefined) {
    return doubt(
      ABOUT,
      `the server does not run here: nothing answers at ${address}`,
      'Start it (`npm start`) and ask again, unless it runs on another machine.',
    )
  }
  if (isWithoutDatabase(answered)) {
    return doubt(ABOUT, `a homeserver runs here, at ${address}, and cannot reach its database`, WITHOUT_DATABASE)
  }
  const answer = jsonOf(answered.text)
  const isOurs = isObject(answer) && own(answer, 'server_name') === serverName
  if (isOurs) return good(ABOUT, `the server runs here, at ${address}`)
  return doubt(
    ABOUT,
    `something else than ${serverName} answers at ${address}`,
    'Another program has the port: stop it, or choose another LISTEN, also in the reverse proxy.',
  )
}

const everywhere = new Map([
  ['0.0.0.0', '127.0.0.1'],
  ['::', '[::1]'],
])
const reachable = (host: string): string => everywhere.get(host) ?? (host.includes(':') ? `[${host}]` : host)

/** Undefined where nothing answers. */
async function answerAt(url: string): Promise<{ status: number; text: string } | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT), redirect: 'manual' })
    return { status: answer.status, text: await answer.text() }
  } catch {
    return undefined
  }
}
