import { types } from 'node:util'
import { ConfigError } from '../config.js'
import { DataFolderHeld } from '../data-folder.js'

/** An error of the start, in words for who has to mend it: what is wrong and, where it is known, which variable mends it. */
export function explain(error: unknown): string {
  if (error instanceof ConfigError)
    return `the configuration has mistakes:\n${indented(error.message)}\nSee .env.example`
  if (error instanceof DataFolderHeld) return `${error.message}. Stop that one first, or choose another DATA_DIR`
  if (!types.isNativeError(error)) return String(error)
  return systemError(error) ?? postgresError(error) ?? error.message
}

const indented = (text: string): string => text.replace(/^/gm, '  ')

interface SystemError extends Error {
  code?: string
  syscall?: string
  address?: string
  port?: number
  path?: string
}

function systemError(error: SystemError): string | undefined {
  const { code, syscall, address, port, path } = error
  if (syscall === 'listen') return listenError(code, `${address ?? ''}:${port ?? ''}`)
  if (syscall === 'connect' || syscall === 'getaddrinfo') return `the database cannot be reached: ${error.message}`
  if (code === 'EACCES' || code === 'EPERM') return `no permission for ${path ?? error.message}`
  if (code === 'ENOSPC') return `the disk is full: ${path ?? error.message}`
  return undefined
}

function listenError(code: string | undefined, where: string): string | undefined {
  switch (code) {
    case 'EADDRINUSE':
      return `${where} is used by another program. Stop that one, or choose another port in LISTEN (or TLS_LISTEN, METRICS_LISTEN)`
    case 'EACCES':
      return `no permission to listen on ${where}. Ports below 1024 are for root; choose another in LISTEN (or TLS_LISTEN, METRICS_LISTEN)`
    case 'EADDRNOTAVAIL':
      return `${where} is not an address of this machine. Choose another in LISTEN (or TLS_LISTEN, METRICS_LISTEN)`
    default:
      return undefined
  }
}

/** https://www.postgresql.org/docs/current/errcodes-appendix.html */
function postgresError(error: SystemError): string | undefined {
  const why = `: ${error.message} (DATABASE_URL)`
  if (error.message.includes('client password must be a string'))
    return 'the database wants a password, and DATABASE_URL has none: postgres://user:password@host:5432/database'
  if (error.message.includes('does not support SSL connections'))
    return `the database has no TLS, and DATABASE_URL asks for it (sslmode)${why}`
  if (error.message.startsWith('timeout exceeded when trying to connect')) return `the database does not answer${why}`
  switch (error.code) {
    case '28P01':
    case '28000':
      return `the database does not let us in${why}`
    case '3D000':
      return `the database does not exist; create it with encoding UTF8${why}`
    case '42501':
      return `the user of the database may not do what is needed${why}`
    case '53300':
      return `the database has no connection left${why}`
    default:
      return undefined
  }
}
