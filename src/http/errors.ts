import type { NextFunction, Request, Response } from 'express'
import type { Logger } from '../logger.js'
import { MatrixError, unavailable } from '../protocol/matrix-error.js'
import { isUnavailable } from '../store/unavailable.js'
import { ClientGone } from './body.js'
import { Reply, send } from './reply.js'

/**
 * The one place where an error becomes an answer. What is not a refusal is answered without detail (an error may quote
 * a password or a row) and logged in full.
 */
export const errorHandler =
  (logger: Logger) =>
  (error: unknown, request: Request, response: Response, _next: NextFunction): void => {
    if (error instanceof ClientGone || response.destroyed) return
    const refusal = refusalOf(error, request, logger)
    send(response, Reply.json(refusal.status, refusal.json(), refusal.headers))
  }

function refusalOf(error: unknown, request: Request, logger: Logger): MatrixError {
  if (error instanceof MatrixError) return error
  const context = { err: error, method: request.method, path: request.path }
  if (isUnavailable(error)) {
    logger.error(context, 'the database is unavailable')
    return unavailable()
  }
  logger.error(context, 'a request failed')
  return new MatrixError(500, 'M_UNKNOWN', 'Internal server error')
}
