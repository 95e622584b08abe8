import { afterAll } from '@jest/globals'
import { unauthorized } from '../../src/protocol/matrix-error.js'
import { createApp } from '../../src/http/app.js'
import { listen } from '../../src/http/server.js'
import { silentLogger } from '../../src/logger.js'
import { ServerAcls } from '../../src/room/server-acls.js'
import { routes } from '../../src/server-server/routes.js'
import type { ServerServices } from '../../src/server-server/services.js'
import type { TestHomeserver } from './homeserver.js'
import { TestClient } from './http.js'

/**
 * The endpoints for other servers, on the parts of a test homeserver. Who asks is believed: the token of a client made
 * here is the name of its server. How requests are signed is tested where that is checked.
 */
export async function serverApp({ services }: TestHomeserver): Promise<(origin?: string) => TestClient> {
  const app = createApp<ServerServices>({
    endpoints: routes,
    // Endpoints that take more have their own tests.
    services: { ...services, acls: new ServerAcls(services.rooms) } as unknown as ServerServices,
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
