import { afterAll } from '@jest/globals'
import { unauthorized } from '../../src/protocol/matrix-error.js'
import { createApp } from '../../src/http/app.js'
import type { Endpoint } from '../../src/http/endpoint.js'
import { listen } from '../../src/http/server.js'
import { silentLogger } from '../../src/logger.js'
import { ServerAcls } from '../../src/room/server-acls.js'
import { routes } from '../../src/server-server/routes.js'
import type { ServerServices } from '../../src/server-server/services.js'
import type { TestHomeserver } from './homeserver.js'
import { TestClient } from './http.js'

/**
 * Endpoints for other servers, over HTTP. Who asks is believed: the token of a client made here is the name of its server.
 * How requests are signed is tested where that is checked. They take what their handlers ask for, no more.
 */
export async function serverAppOf(
  endpoints: readonly Endpoint<ServerServices>[],
  services: Partial<ServerServices>,
): Promise<(origin?: string) => TestClient> {
  const app = createApp({
    endpoints,
    services: services as ServerServices,
    authenticate: () => Promise.reject(unauthorized('No user asks here')),
    authenticateServer: async ({ authorization }) => {
      if (authorization === undefined) throw unauthorized('The request is not signed')
      return { serverName: authorization.replace('Bearer ', '') }
    },
    rateLimits: false,
    trustedProxies: [],
    shuttingDown: new AbortController().signal,
    logger: silentLogger,
  })
  const server = await listen(app, { host: '127.0.0.1', port: 0, logger: silentLogger })
  afterAll(() => server.close(0))
  return (origin) => new TestClient(`http://127.0.0.1:${server.port}`, origin)
}

/** All of them, on the parts of a test homeserver. */
export const serverApp = ({ services }: TestHomeserver) =>
  serverAppOf(routes, { ...services, acls: new ServerAcls(services.rooms) })
