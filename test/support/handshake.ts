/** Endpoints for other servers over HTTP, on an engine, asked by servers of the laboratory. */
import { afterAll } from '@jest/globals'
import { createApp } from '../../src/http/app.js'
import type { Endpoint } from '../../src/http/endpoint.js'
import { listen } from '../../src/http/server.js'
import { silentLogger } from '../../src/logger.js'
import { canonicalJson } from '../../src/protocol/canonical-json.js'
import { numbersOf } from '../../src/protocol/hashes.js'
import type { Json, JsonObject } from '../../src/protocol/json.js'
import { unauthorized } from '../../src/protocol/matrix-error.js'
import { rulesOf } from '../../src/protocol/room-versions.js'
import { finishEvent } from '../../src/protocol/signing.js'
import type { ServerServices } from '../../src/server-server/services.js'
import { TestClient } from './http.js'
import { labServer } from './laboratory/index.js'

/** Who asks is believed: the token of a client is the name of its server. */
export async function handshakeServer(
  endpoints: readonly Endpoint<ServerServices>[],
  services: Partial<ServerServices>,
): Promise<(origin: string) => TestClient> {
  const app = createApp({
    endpoints,
    services: services as ServerServices,
    authenticate: () => Promise.reject(unauthorized('No user asks here')),
    authenticateServer: ({ authorization = '' }) =>
      Promise.resolve({ serverName: authorization.replace('Bearer ', '') }),
    rateLimits: false,
    trustedProxies: [],
    shuttingDown: new AbortController().signal,
    logger: silentLogger,
  })
  const server = await listen(app, { host: '127.0.0.1', port: 0, logger: silentLogger })
  afterAll(() => server.close(0))
  return (origin) => new TestClient(`http://127.0.0.1:${server.port}`, origin)
}

export const path = (...segments: readonly string[]) =>
  `/_matrix/federation/${segments.map(encodeURIComponent).join('/')}`

export interface SignedPdu {
  readonly eventId: string
  readonly pdu: JsonObject
  readonly text: string
}

let made = 0

/** The event a server of the laboratory makes of a template, or of anything else; keys that are undefined are left out. */
export function signed(version: string, server: string, pdu: Readonly<Record<string, Json | undefined>>): SignedPdu {
  const rules = rulesOf(version)!
  const { name, key } = labServer(server)
  const id = rules.eventIdFormat === 'in-pdu' ? { event_id: `$handshake${++made}:${name}` } : {}
  const { eventId, pdu: finished } = finishEvent(rules, { ...id, ...pdu }, name, key)
  return { eventId, pdu: finished, text: canonicalJson(finished, numbersOf(rules)) }
}
