import { encodeBase64 } from './base64.js'
import { canonicalJson } from './canonical-json.js'
import { isServerName } from './identifiers.js'
import type { JsonObject } from './json.js'
import { unauthorized } from './matrix-error.js'
import type { SigningKey } from './signing.js'

/**
 * The signature of a request between servers, and the header that carries it.
 * https://spec.matrix.org/v1.19/server-server-api/#request-authentication
 */

export interface RequestToSign {
  /** In capitals. */
  readonly method: string
  /** The path and the query as they stand in the request line, not decoded. */
  readonly uri: string
  readonly origin: string
  /** The name of the server that is asked, whatever it is delegated to. */
  readonly destination: string
  /** The body; of a received one what `parseExactJson` reads, so that its numbers are as they were signed. */
  readonly content?: JsonObject | undefined
}

/** What the `Authorization` header says. Nothing of it has been verified. */
export interface Credentials {
  readonly origin: string
  /** Absent from the requests of servers older than version 1.3 of the specification. */
  readonly destination?: string | undefined
  /** `ed25519:` and a version. */
  readonly keyId: string
  /** Base64. */
  readonly signature: string
}

/** What is signed. Throws `CanonicalJsonError`. */
export const requestText = ({ method, uri, origin, destination, content }: RequestToSign): string =>
  canonicalJson({ method, uri, origin, destination, content }, 'any')

/** What stands before and after the content, where there is one, in what is signed. */
export function textAroundContent({
  method,
  uri,
  origin,
  destination,
}: RequestToSign): [before: string, after: string] {
  // `content` comes first in the order of canonical JSON.
  return ['{"content":', `,${canonicalJson({ method, uri, origin, destination }).slice(1)}`]
}

/** The header of a request of ours. Throws `CanonicalJsonError`. */
export function signRequest(request: RequestToSign, key: SigningKey): string {
  const { origin, destination } = request
  const signature = encodeBase64(key.sign(Buffer.from(requestText(request))))
  return formatAuthorization({ origin, destination, keyId: key.keyId, signature })
}

/** As older servers read it too: one space, names in small letters, every value in quotes, nothing around the commas. */
export function formatAuthorization({ origin, destination, keyId, signature }: Credentials): string {
  const parameters = [
    ['origin', origin],
    ...(destination === undefined ? [] : [['destination', destination]]),
    ['key', keyId],
    ['sig', signature],
  ]
  return `X-Matrix ${parameters.map(([name, value]) => `${name}="${escaped(value!)}"`).join(',')}`
}

const escaped = (value: string): string => value.replace(/["\\]/g, '\\$&')

/**
 * Reads one header (RFC 9110, section 11.4). Several headers that a proxy has joined by commas are refused, because the
 * scheme of the second is no parameter: whose request it is must not depend on who reads it. Throws M_UNAUTHORIZED.
 */
export function parseAuthorization(header: string): Credentials {
  const scheme = /^X-Matrix +/i.exec(header)?.[0]
  if (scheme === undefined) throw unauthorized('The Authorization header is not of the scheme X-Matrix')
  const parameters = readParameters(header, scheme.length)
  const required = (name: string): string => {
    const value = parameters.get(name)
    if (value === undefined) throw unauthorized(`The Authorization header has no ${name}`)
    return value
  }

  const origin = required('origin')
  const keyId = required('key')
  if (!isServerName(origin)) throw unauthorized('The origin in the Authorization header is not a server name')
  if (!isKeyId(keyId)) throw unauthorized('The key in the Authorization header is not the id of an Ed25519 key')
  return { origin, destination: parameters.get('destination'), keyId, signature: required('sig') }
}

/** The only algorithm there is, and a version as the grammar of key ids has it. */
export const isKeyId = (keyId: string): boolean => /^ed25519:[A-Za-z0-9_]{1,100}$/.test(keyId)

/**
 * A parameter at this place: a name, and a token or a quoted string. Colons may stand in tokens, as older servers write
 * them. Blanks around the `=` are bad form, and RFC 9110 has them read.
 */
const parameter = /([!#$%&'*+.^`|~\w-]+)[ \t]*=[ \t]*(?:([!#$%&'*+.^`|~\w:-]+)|"((?:[^"\\]|\\[^])*)")/y
/** Elements of a list may be empty. */
const separator = /[ \t]*(?:,[ \t]*)+|[ \t]*$/y
const leading = /[ \t,]*/y

/** By their names in small letters. */
function readParameters(header: string, start: number): ReadonlyMap<string, string> {
  const parameters = new Map<string, string>()
  let at = endOf(leading, header, start)
  while (at < header.length) {
    parameter.lastIndex = at
    const [, name, token, quoted] = parameter.exec(header) ?? []
    if (name === undefined) throw malformed()
    const key = name.toLowerCase()
    if (parameters.has(key)) throw unauthorized(`The Authorization header has the parameter ${key} twice`)
    parameters.set(key, token ?? quoted!.replace(/\\([^])/g, '$1'))
    at = endOf(separator, header, parameter.lastIndex)
  }
  return parameters
}

function endOf(pattern: RegExp, text: string, start: number): number {
  pattern.lastIndex = start
  if (!pattern.test(text)) throw malformed()
  return pattern.lastIndex
}

const malformed = () =>
  unauthorized('The Authorization header is malformed: after X-Matrix, name="value" pairs with commas between them')
