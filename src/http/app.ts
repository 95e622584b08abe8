import express, { type Express } from 'express'
import type { Logger } from '../logger.js'
import type { Requester } from '../accounts/requester.js'
import { ClientAddresses } from './client-address.js'
import { dispatch, type AuthenticateServer } from './dispatch.js'
import type { Endpoint } from './endpoint.js'
import { errorHandler } from './errors.js'
import { RateLimits } from './rate-limits.js'
import { Router } from './router.js'

export interface AppOptions<S> {
  readonly endpoints: readonly Endpoint<S>[]
  readonly services: S
  readonly authenticate: (token: string, ip: string) => Requester | Promise<Requester>
  readonly authenticateServer: AuthenticateServer
  readonly rateLimits: boolean
  readonly trustedProxies: readonly string[]
  readonly shuttingDown: AbortSignal
  readonly logger: Logger
}

/**
 * Express as a shell: one middleware dispatches all endpoints through one trie, one handler answers errors. Routes of
 * Express are matched one by one, which for 150 of them costs as much as all the rest of a request. Serve it with `createHttpServer`, which gives requests the prototypes Express wants.
 */
export function createApp<S>(options: AppOptions<S>): Express {
  const app = express()
  app.disable('x-powered-by')
  app.disable('etag')
  app.disable('query parser')

  const router = new Router(options.endpoints)
  const deps = {
    router,
    services: options.services,
    authenticate: options.authenticate,
    authenticateServer: options.authenticateServer,
    rateLimits: new RateLimits(options.rateLimits),
    addresses: new ClientAddresses(options.trustedProxies),
    shuttingDown: options.shuttingDown,
  }
  app.use((request, response, next) => {
    dispatch(deps, request, response).catch(next)
  })
  app.use(errorHandler(router, options.logger))
  return app
}
