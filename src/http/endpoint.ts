import type { Static, TObject, TSchema } from 'typebox'
import { Type } from 'typebox'
import type { Requester } from '../accounts/requester.js'
import type { JsonObject } from '../protocol/json.js'
import { DEFAULT_BODY_LIMIT } from './body.js'
import type { RateLimitName } from './rate-limits.js'
import type { Reply } from './reply.js'
import { check, queryReader } from './schema.js'

/**
 * The declaration of an endpoint. Who may call it, how often, and the shapes it takes are data; the one wrapper in
 * dispatch.ts applies them to all endpoints in the same way. A handler gets checked values and returns a value: it sees
 * no request and no response, so it cannot answer twice or read what was not checked.
 */

export type Auth =
  /** A local user, by `Authorization: Bearer` or `?access_token=`. */
  | 'access-token'
  /** A local user if there is a token; a token that is not known is refused all the same. */
  | 'optional'
  /** Another server, by its signature on the request: `Authorization: X-Matrix`. */
  | 'signed-request'
  /** Nobody is looked up; a token that comes along is not read. */
  | 'none'

/** Another server that signed a request. */
export interface RemoteServer {
  /** Its name is that of who signed; whatever the body says of its origin is not. */
  readonly serverName: string
}

type RequesterOf<A extends Auth> = A extends 'access-token'
  ? Requester
  : A extends 'optional'
    ? Requester | undefined
    : A extends 'signed-request'
      ? RemoteServer
      : undefined

/** `text`: JSON of which each part stands for itself; it is not parsed, the handler cuts it up. Its `body` is empty. */
export type BodyFormat = 'json' | 'form' | 'text'

/** What a handler is told of one request. */
export interface Call<A extends Auth, P, Q, B> {
  readonly requester: RequesterOf<A>
  readonly params: P
  readonly query: Q
  /** As it came, keys the schema does not name included. Undefined where no body is declared. */
  readonly body: B
  /** The first number of the body that canonical JSON would not have written so, such as `1.0`. */
  readonly nonCanonicalNumber: string | undefined
  /** The body as the client wrote it: a JSON object, unless its format is `text`. Empty where none was read as JSON. */
  readonly bodyText: string
  /** The client's address, behind trusted proxies too. */
  readonly ip: string
  readonly userAgent: string | undefined
  /** Aborted when the client goes away before it has its answer. */
  readonly signal: AbortSignal
  /** Aborted when the server begins to stop: whoever waits for news answers at once. */
  readonly shuttingDown: AbortSignal
}

export interface Declaration<S, A extends Auth, P extends TObject, Q extends TObject, B extends TSchema> {
  /** As the specification's OpenAPI names it. */
  readonly operationId: string
  readonly method: 'get' | 'post' | 'put' | 'delete'
  /** With `:name` for parameters. A path of version `v3` answers under `r0` too. */
  readonly path: string
  /** Further paths. A parameter that stands in `path` and not in the alias is the empty string. */
  readonly aliases?: readonly string[]
  readonly auth: A
  readonly params?: P
  /** Properties of type integer, boolean and array are converted; all others are strings. */
  readonly query?: Q
  /** Without it a body is neither read nor checked. Always an object. */
  readonly body?: B
  /** Bytes; 1 MiB unless said otherwise. */
  readonly bodyLimit?: number
  readonly bodyFormat?: BodyFormat
  /** An absent body counts as `{}`: clients send none to endpoints whose fields are all optional. */
  readonly emptyBody?: 'allowed'
  /** A required field that is absent is M_MISSING_PARAM, where the specification says so; otherwise M_BAD_JSON. */
  readonly missingField?: 'M_MISSING_PARAM'
  readonly rateLimit?: RateLimitName
  /** Returns what is answered as JSON with status 200, or a `Reply`. */
  handle(services: S, call: Call<A, Static<P>, Static<Q>, Static<B>>): Promise<object> | object
}

/** A declaration with its shapes made into functions, as the dispatcher takes it. */
export interface Endpoint<S> {
  readonly operationId: string
  readonly method: 'get' | 'post' | 'put' | 'delete'
  readonly paths: readonly string[]
  readonly parameterNames: readonly string[]
  readonly auth: Auth
  readonly rateLimit: RateLimitName | undefined
  /** Undefined when no body is read. */
  readonly body: BodyDeclaration | undefined
  /** False when nothing of the query is declared. */
  readonly readsQuery: boolean
  readParams(params: Readonly<Record<string, string>>): unknown
  readQuery(search: string): unknown
  handle(services: S, call: Call<Auth, unknown, unknown, unknown>): Promise<object | Reply> | object | Reply
}

export interface BodyDeclaration {
  readonly limit: number
  readonly format: BodyFormat
  readonly emptyAllowed: boolean
  readonly schema: TSchema
  read(value: JsonObject): unknown
}

const nothing = Type.Object({})

/** `endpoint` for the services of one API, so that handlers can take what they need of them by name. */
export const endpointsOver =
  <S>() =>
  <A extends Auth, P extends TObject = TObject, Q extends TObject = TObject, B extends TSchema = TSchema>(
    declaration: Declaration<S, A, P, Q, B>,
  ): Endpoint<S> => {
    const { operationId, method, path, aliases = [], auth, rateLimit, params, query } = declaration
    const toQuery = queryReader(query ?? nothing)
    const checkQuery = check('query', query ?? nothing)
    return {
      operationId,
      method,
      paths: [path, ...aliases].flatMap(withOldPrefix),
      parameterNames: [...path.matchAll(/:(\w+)/g)].map(([, name]) => name as string),
      auth,
      rateLimit,
      body: bodyOf(declaration),
      readsQuery: query !== undefined,
      readParams: check('path', params ?? nothing),
      readQuery: (search) => checkQuery(toQuery(search)),
      handle: (services, call) => declaration.handle(services, call as Call<A, Static<P>, Static<Q>, Static<B>>),
    }
  }

function bodyOf<B extends TSchema>(declaration: {
  body?: B
  bodyLimit?: number
  bodyFormat?: BodyFormat
  emptyBody?: 'allowed'
  missingField?: 'M_MISSING_PARAM'
}): BodyDeclaration | undefined {
  if (declaration.body === undefined) return undefined
  return {
    limit: declaration.bodyLimit ?? DEFAULT_BODY_LIMIT,
    format: declaration.bodyFormat ?? 'json',
    emptyAllowed: declaration.emptyBody === 'allowed',
    schema: declaration.body,
    read: check('body', declaration.body, declaration.missingField !== undefined),
  }
}

/** `r0` left the specification with v1.1, but old clients know nothing else. */
function withOldPrefix(path: string): string[] {
  const old = path.replace(/^\/_matrix\/(client|media)\/v3\//, '/_matrix/$1/r0/')
  return old === path ? [path] : [path, old]
}
