import type { NextFunction, Request, Response } from 'express'
import type { Logger } from '../logger.js'
import { MatrixError, unavailable } from '../protocol/matrix-error.js'
import { isUnavailable } from '../store/unavailable.js'
import { ClientGone } from './body.js'
import { splitUrl } from './dispatch.js'
import { Reply, send } from './reply.js'
import type { Router } from './router.js'

/**
 * The one place where an error becomes an answer. What is not a refusal is answered without detail (an error may quote
 * a password or a row) and logged in full.
 */
export const errorHandler =
  <S>(router: Router<S>, logger: Logger) =>
  (error: unknown, request: Request, response: Response, _next: NextFunction): void => {
    if (error instanceof ClientGone || response.destroyed) return
    const refusal = error instanceof MatrixError ? error : fault(error, asked(router, request, logger), logger)
    send(response, Reply.json(refusal.status, refusal.json(), refusal.headers))
  }

/** The path may hold who is asked about, or a secret, as that of the set-up link is: it is for debugging only. */
function asked<S>(router: Router<S>, { method, url }: Request, logger: Logger): object {
  const { path } = splitUrl(url)
  const operation = router.operationOf(method, path)
  return logger.isLevelEnabled('debug') ? { operation, method, path } : { operation }
}

function fault(error: unknown, request: object, logger: Logger): MatrixError {
  const context = { err: error, ...request }
  if (isUnavailable(error)) {
    logger.error(context, 'the database is unavailable')
    return unavailable()
  }
  logger.error(context, 'a request failed')
  return new MatrixError(500, 'M_UNKNOWN', 'Internal server error')
}
