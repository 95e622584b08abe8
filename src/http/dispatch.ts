import type { IncomingMessage, ServerResponse } from 'node:http'
import { addressKey } from '../accounts/address-key.js'
import type { Requester } from '../accounts/requester.js'
import { missingToken, notJson } from '../protocol/matrix-error.js'
import { parseFormBody, parseJsonBody, readBody, textBody, type JsonBody } from './body.js'
import type { ClientAddresses } from './client-address.js'
import type { Auth, BodyDeclaration, Call, Endpoint, RemoteServer } from './endpoint.js'
import type { RateLimits } from './rate-limits.js'
import { preflight, Reply, send } from './reply.js'
import type { Router } from './router.js'

/** What the dispatcher needs beside the endpoints. */
export interface DispatchDeps<S> {
  readonly router: Router<S>
  readonly services: S
  /** Throws M_UNKNOWN_TOKEN. Notes that the device was seen at `ip`. */
  readonly authenticate: (token: string, ip: string) => Requester | Promise<Requester>
  readonly authenticateServer: AuthenticateServer
  readonly rateLimits: RateLimits
  readonly addresses: ClientAddresses
  readonly shuttingDown: AbortSignal
}

/** What the signature of a request covers, as the specification's "Request Authentication" says. */
export interface SignedRequest {
  readonly method: string
  /** The path and the query as they came, not decoded. */
  readonly uri: string
  /** The `Authorization` header. */
  readonly authorization: string | undefined
  readonly body: UnreadBody | undefined
  /** As `addressKey`: who counts as one while it is not known which server asks. */
  readonly address: string
}

/** Of a request of which it is not known yet whose it is: what it holds may be anybody's, and any size that is allowed. */
export interface UnreadBody {
  /** In bytes, as announced; undefined where nothing is. */
  readonly length: number | undefined
  /** Once. */
  read(): Promise<Buffer>
}

/** Throws 401 M_UNAUTHORIZED. */
export type AuthenticateServer = (request: SignedRequest) => Promise<RemoteServer>

/** Answers one request, or throws what the error handler turns into an answer. */
export async function dispatch<S>(deps: DispatchDeps<S>, request: IncomingMessage, response: ServerResponse) {
  if (request.method === 'OPTIONS') return send(response, preflight)

  const { path, search } = splitUrl(request.url ?? '/')
  const { endpoint, params } = deps.router.find(request.method ?? 'GET', path)
  const ip = deps.addresses.of(request.socket.remoteAddress, header(request, 'x-forwarded-for'))

  const { requester, bytes } =
    endpoint.auth === 'signed-request'
      ? await authenticatedServer(deps, endpoint, request, ip)
      : { requester: await authenticated(deps, endpoint, tokenOf(request, search), ip), bytes: undefined }
  if (endpoint.rateLimit !== undefined) deps.rateLimits.check(endpoint.rateLimit, limitedName(requester, ip))

  const readParams = endpoint.readParams(params)
  const query = endpoint.readsQuery ? endpoint.readQuery(search) : {}
  const body = checked(endpoint.body, await jsonOf(endpoint, request, bytes))

  const call = new RequestCall(request, response, requester, readParams, query, body, ip, deps.shuttingDown)
  const answer = await endpoint.handle(deps.services, call)
  send(response, answer instanceof Reply ? answer : Reply.json(200, answer))
}

function authenticated<S>(deps: DispatchDeps<S>, endpoint: Endpoint<S>, token: string | undefined, ip: string) {
  if (endpoint.auth === 'none') return undefined
  if (token !== undefined) return deps.authenticate(token, ip)
  if (endpoint.auth === 'access-token') throw missingToken()
  return undefined
}

/** A signature covers the body: it is read before it is known who asks, and parsed afterwards. */
async function authenticatedServer<S>(
  deps: DispatchDeps<S>,
  { body }: Endpoint<S>,
  request: IncomingMessage,
  ip: string,
): Promise<{ requester: RemoteServer; bytes: Buffer | undefined }> {
  let bytes: Buffer | undefined
  const requester = await deps.authenticateServer({
    method: request.method ?? 'GET',
    uri: request.url ?? '/',
    authorization: request.headers.authorization,
    body: body && { length: announcedLength(request), read: async () => (bytes = await readBody(request, body.limit)) },
    address: addressKey(ip),
  })
  return { requester, bytes }
}

function announcedLength({ headers }: IncomingMessage): number | undefined {
  const length = headers['content-length']
  if (length !== undefined) return Number(length)
  return headers['transfer-encoding'] === undefined ? 0 : undefined
}

function limitedName(requester: Requester | RemoteServer | undefined, ip: string): string {
  if (requester === undefined) return addressKey(ip)
  return 'userId' in requester ? requester.userId : requester.serverName
}

/** The header counts before the query, which is there for old clients. An empty token is none. */
function tokenOf(request: IncomingMessage, search: string): string | undefined {
  const bearer = /^bearer +(\S+) *$/i.exec(request.headers.authorization ?? '')?.[1]
  if (bearer !== undefined || !search.includes('access_token=')) return bearer
  return new URLSearchParams(search).get('access_token') || undefined
}

/** Undefined when no body is read. */
async function jsonOf<S>(
  { body }: Endpoint<S>,
  request: IncomingMessage,
  bytes: Buffer | undefined,
): Promise<JsonBody | undefined> {
  return body === undefined ? undefined : parsed(body, bytes ?? (await readBody(request, body.limit)))
}

function checked(declaration: BodyDeclaration | undefined, body: JsonBody | undefined): CheckedBody | undefined {
  if (declaration === undefined || body === undefined) return undefined
  const { value, nonCanonicalNumber, text } = body
  return { value: declaration.read(value), nonCanonicalNumber, text }
}

interface CheckedBody {
  readonly value: unknown
  readonly nonCanonicalNumber?: string | undefined
  readonly text: string
}

function parsed(declaration: BodyDeclaration, bytes: Buffer): JsonBody {
  if (declaration.format === 'form') return { value: parseFormBody(bytes), text: '' }
  if (declaration.format === 'text') return textBody(bytes)
  if (bytes.length > 0) return parseJsonBody(bytes)
  if (declaration.emptyAllowed) return { value: {}, text: '{}' }
  throw notJson('The body is empty')
}

export function splitUrl(url: string): { path: string; search: string } {
  const mark = url.indexOf('?')
  return mark === -1 ? { path: url, search: '' } : { path: url.slice(0, mark), search: url.slice(mark + 1) }
}

const header = (request: IncomingMessage, name: string): string | undefined => {
  const value = request.headers[name]
  return Array.isArray(value) ? value.join(',') : value
}

class RequestCall implements Call<Auth, unknown, unknown, unknown> {
  readonly body: unknown
  readonly nonCanonicalNumber: string | undefined
  readonly bodyText: string
  #abort: AbortController | undefined

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    readonly requester: Requester | RemoteServer | undefined,
    readonly params: unknown,
    readonly query: unknown,
    body: CheckedBody | undefined,
    readonly ip: string,
    readonly shuttingDown: AbortSignal,
  ) {
    this.body = body?.value
    this.nonCanonicalNumber = body?.nonCanonicalNumber
    this.bodyText = body?.text ?? ''
  }

  get userAgent(): string | undefined {
    return this.request.headers['user-agent']
  }

  /** Made when it is asked for: most requests are answered before anybody could lose patience. */
  get signal(): AbortSignal {
    this.#abort ??= this.#abortOnClose()
    return this.#abort.signal
  }

  #abortOnClose(): AbortController {
    const controller = new AbortController()
    if (this.response.destroyed) controller.abort()
    else {
      this.response.once('close', () => {
        if (!this.response.writableFinished) controller.abort()
      })
    }
    return controller
  }
}
