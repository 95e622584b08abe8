/**
 * Whether an error says that Postgres is away or full, and not that a statement was wrong. Everything of that kind ends
 * by itself: the request is answered 503 and the client tries again.
 * https://www.postgresql.org/docs/current/errcodes-appendix.html
 */
export function isUnavailable(error: unknown, depth = 0): boolean {
  if (!(error instanceof Error) || depth > 5) return false
  if (error.name === 'DatabaseUnavailable') return true // of the log writer, whatever the cause
  if (hasUnavailableCode(error) || hasUnavailableMessage(error)) return true
  if (error instanceof AggregateError) return error.errors.some((one) => isUnavailable(one, depth + 1))
  return isUnavailable(error.cause, depth + 1)
}

/** What the socket says when there is nobody at the other end. */
const socketCodes: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ENOENT',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
])

/**
 * 08 connection, 53 resources (disk, memory, connections), 57P0 shut down, 58 I/O, 25006 read only since a failover; and
 * what refuses a connection while somebody is at work on the database: 28 not let in, 3D000 renamed, 55000 closed.
 */
const sqlState = /^(08...|53...|57P0.|58...|28...|3D000|55000|25006|57014)$/

function hasUnavailableCode(error: Error): boolean {
  const code = (error as { code?: unknown }).code
  if (typeof code !== 'string') return false
  return sqlState.test(code) || (socketCodes.has(code) && isSocketError(error))
}

/** A file that is missing has the code ENOENT too. */
const isSocketError = (error: Error): boolean =>
  /^(connect|read|write|getaddrinfo)$/.test(String((error as { syscall?: unknown }).syscall))

/** The driver's own errors have no code. */
function hasUnavailableMessage(error: Error): boolean {
  return /^(Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|Client was closed|Query read timeout)/.test(
    error.message,
  )
}
