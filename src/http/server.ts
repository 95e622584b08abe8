import type { Express } from 'express'
import { readFileSync, unwatchFile, watchFile } from 'node:fs'
import { createServer, IncomingMessage, ServerResponse, type Server, type ServerOptions } from 'node:http'
import { createServer as createTlsServer, type Server as TlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Logger } from '../logger.js'

export interface ListenOptions {
  readonly host: string
  /** 0: any free one. */
  readonly port: number
  /** HTTPS when given. The files are taken anew when they have changed. */
  readonly tls?: TlsFiles | undefined
  readonly logger: Logger
}

export interface TlsFiles {
  readonly certFile: string
  readonly keyFile: string
  /** How often to look whether they have changed; ten seconds. */
  readonly pollMs?: number
}

export interface RunningServer {
  readonly host: string
  readonly port: number
  /** Stops listening, lets requests in progress end for up to `graceMs`, then cuts them off. May be called twice. */
  close(graceMs: number): Promise<void>
}

type Born = Pick<ServerOptions, 'IncomingMessage' | 'ServerResponse'>
const born = new WeakMap<Express, Born>()

/**
 * Requests and responses are born with the prototypes Express would give them: it calls `Object.setPrototypeOf` on both
 * for every request, which turns their later use slow, unless nothing changes by it. It takes classes: objects made by
 * `Reflect.construct` under the same prototypes stay slow.
 *
 * Microseconds of CPU a request (PUT with token and body, 150 routes, one run): node:http alone, without look-ups and
 * checks, 65; this 110; with `Reflect.construct` 330. Once per app, since it replaces the app's prototypes: two servers of
 * one app share the classes.
 */
function bornForExpress(app: Express): Born {
  const known = born.get(app)
  if (known !== undefined) return known

  class BornRequest extends IncomingMessage {}
  class BornResponse extends ServerResponse {}
  Object.setPrototypeOf(BornRequest.prototype, app.request)
  Object.setPrototypeOf(BornResponse.prototype, app.response)
  app.request = BornRequest.prototype as Express['request']
  app.response = BornResponse.prototype as Express['response']
  const made = { IncomingMessage: BornRequest, ServerResponse: BornResponse as typeof ServerResponse }
  born.set(app, made)
  return made
}

const limits: ServerOptions = {
  // Longer than proxies keep idle connections (60 s in nginx and most balancers): whoever closes first should be them,
  // or a request may be sent into a connection that is just being closed.
  keepAliveTimeout: 75_000,
  headersTimeout: 30_000,
  // For the request to arrive, not for the answer: long polls are not touched, slow uploads end.
  requestTimeout: 300_000,
  // Filters may stand in the query.
  maxHeaderSize: 32 * 1024,
  insecureHTTPParser: false,
  requireHostHeader: true,
  noDelay: true,
}

/** A server for the app that does not listen yet. */
export function createHttpServer(app: Express, tls?: { cert: Buffer; key: Buffer }): Server | TlsServer {
  const options = { ...limits, ...bornForExpress(app) }
  return tls === undefined ? createServer(options, app) : createTlsServer({ ...options, ...tls }, app)
}

export async function listen(app: Express, options: ListenOptions): Promise<RunningServer> {
  const { tls, logger } = options
  const server = createHttpServer(app, tls === undefined ? undefined : readCertificate(tls))
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port, options.host, () => {
      server.off('error', reject)
      resolve()
    })
  })
  server.on('error', (error) => logger.error({ err: error }, 'the listening socket failed'))
  const stopWatching = tls === undefined ? () => undefined : reloadCertificate(server as TlsServer, tls, logger)
  const { address, port } = server.address() as AddressInfo
  return {
    host: address,
    port,
    async close(graceMs) {
      stopWatching()
      await closeServer(server, graceMs)
    },
  }
}

const readCertificate = (tls: TlsFiles) => ({
  cert: readFileSync(tls.certFile),
  key: readFileSync(tls.keyFile),
})

/** Polling, because tools replace these files by renaming or by moving a link, which a watch on the file does not see. */
function reloadCertificate(server: TlsServer, tls: TlsFiles, logger: Logger) {
  const reload = () => {
    try {
      server.setSecureContext(readCertificate(tls))
      logger.info({ certFile: tls.certFile }, 'took the new certificate')
    } catch (cause) {
      // One of the two may still be the old one. The last good pair stays in use; the next change tries again.
      logger.warn({ err: cause, certFile: tls.certFile }, 'could not take the changed certificate')
    }
  }
  const files = [tls.certFile, tls.keyFile]
  for (const file of files) watchFile(file, { interval: tls.pollMs ?? 10_000, persistent: false }, reload)
  return () => {
    for (const file of files) unwatchFile(file, reload)
  }
}

/** Connections that fall idle while we wait are closed too, or clients that keep them alive would hold the stop up. */
async function closeServer(server: Server | TlsServer, graceMs: number): Promise<void> {
  if (!server.listening) return
  const closeIdle = setInterval(() => server.closeIdleConnections(), 100)
  const cutOff = setTimeout(() => server.closeAllConnections(), graceMs)
  await new Promise<void>((resolve) => {
    server.close(() => resolve())
  })
  clearInterval(closeIdle)
  clearTimeout(cutOff)
}
