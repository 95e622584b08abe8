/**
 * Identity servers: what they know of addresses, invites they keep for addresses nobody has yet, and whether they stand by
 * their keys. None is asked but one that a client or a third-party invite names; where requests may go is decided as for
 * any server that anybody may have named (outbound-http.ts). Their errors are told to clients in our words: what they say
 * of an access token is not said of ours. https://spec.matrix.org/v1.19/identity-service-api/
 */
import { hash } from 'node:crypto'
import { decodeBase64 } from '../protocol/base64.js'
import { isServerName, isUserId } from '../protocol/identifiers.js'
import { isObject, own, ownString, type Json, type JsonObject } from '../protocol/json.js'
import { forbidden, invalidParam, limitExceeded, MatrixError } from '../protocol/matrix-error.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'
import type { Address, IdentityAccount, IdentityService, KeptInvite } from '../room/invite-by-address.js'
import type { IdentityKeys } from '../room/third-party-invites.js'
import { textOf, type OutboundHttp, type OutboundRequest, type Target } from './outbound-http.js'

const limits = { timeout: 10_000, maxBytes: 64 * 1024 }
/** Of an invite: the identity server's own, and one of this invite alone. */
const MOST_KEYS = 10
/** Of what is told of an identity server's error. */
const LONGEST_TEXT = 200

interface IdentityAnswer {
  readonly server: string
  readonly status: number
  /** Empty where it is no object. */
  readonly body: JsonObject
}

export class IdentityServers implements IdentityKeys, IdentityService {
  constructor(private readonly http: Pick<OutboundHttp, 'get' | 'request'>) {}

  /** "using the provided URL rather than constructing a new one" */
  async isValid(validityUrl: string, publicKey: string): Promise<boolean> {
    if (!URL.canParse(validityUrl)) return false
    const url = new URL(validityUrl)
    if (url.protocol !== 'https:') return false
    url.searchParams.set('public_key', publicKey)
    const { status, body } = await reached(url.host, async () => {
      const { status, text } = await this.http.get(url, { ...limits, redirects: 0 })
      return { status, text }
    })
    if (status >= 500 || status === 429) throw unreachable(url.host)
    return status === 200 && own(body, 'valid') === true
  }

  async lookUp(account: IdentityAccount, address: Address, signal?: AbortSignal): Promise<string | undefined> {
    const first = await this.#lookUpOnce(account, address, signal)
    // "being careful to avoid retry loops"
    const again = ownString(first.body, 'errcode') === 'M_INVALID_PEPPER'
    const { key, ...answer } = again ? await this.#lookUpOnce(account, address, signal) : first
    const mappings = own(taken(answer), 'mappings')
    if (!isObject(mappings)) throw malformed(account.server)
    return userIdIn(account.server, own(mappings, key))
  }

  async keepInvite(
    account: IdentityAccount,
    invite: JsonObject,
    signal?: AbortSignal,
  ): Promise<KeptInvite | { readonly userId: string }> {
    const answer = await this.#ask(account, { method: 'POST', path: 'store-invite', content: invite }, signal)
    if (ownString(answer.body, 'errcode') === 'M_THREEPID_IN_USE') {
      const userId = userIdIn(account.server, own(answer.body, 'mxid'))
      if (userId !== undefined) return { userId }
    }
    return keptInvite(account.server, taken(answer))
  }

  async #lookUpOnce(
    account: IdentityAccount,
    { medium, address }: Address,
    signal: AbortSignal | undefined,
  ): Promise<IdentityAnswer & { readonly key: string }> {
    const details = taken(await this.#ask(account, { method: 'GET', path: 'hash_details' }, signal))
    const pepper = ownString(details, 'lookup_pepper')
    const algorithms = own(details, 'algorithms')
    // "Must contain at least sha256."
    if (pepper === undefined || !Array.isArray(algorithms) || !algorithms.includes('sha256'))
      throw malformed(account.server)
    const key = hash('sha256', `${address} ${medium} ${pepper}`, 'base64url')
    const content = { algorithm: 'sha256', pepper, addresses: [key] }
    return { ...(await this.#ask(account, { method: 'POST', path: 'lookup', content }, signal)), key }
  }

  async #ask(
    { server, accessToken }: IdentityAccount,
    { method, path, content }: { method: OutboundRequest['method']; path: string; content?: JsonObject },
    signal: AbortSignal | undefined,
  ): Promise<IdentityAnswer> {
    const target = targetOf(server)
    const request: OutboundRequest = {
      ...limits,
      method,
      path: `/_matrix/identity/v2/${path}`,
      headers: { authorization: `Bearer ${accessToken}` },
      ...(content !== undefined && { body: JSON.stringify(content) }),
    }
    return reached(server, async () => {
      const { status, body } = await this.http.request(target, request, signal)
      return { status, text: await textOf(body) }
    })
  }
}

/** "The hostname+port of the identity server". @throws MatrixError 400 */
function targetOf(server: string): Target {
  const url = `https://${server}`
  if (!isServerName(server) || !URL.canParse(url)) throw invalidParam('body.id_server must be a host name')
  const { hostname, host, port } = new URL(url)
  const name = hostname.replace(/^\[|\]$/g, '')
  return { certificateName: name, host, places: [{ host: name, port: port === '' ? 443 : Number(port) }] }
}

/** What went wrong on the way is not told: it would say which addresses inside this network answer. */
async function reached(server: string, ask: () => Promise<{ status: number; text: string }>): Promise<IdentityAnswer> {
  try {
    const { status, text } = await ask()
    return { server, status, body: objectIn(text) }
  } catch {
    throw unreachable(server)
  }
}

function objectIn(text: string): JsonObject {
  try {
    const { value } = parseJson(text)
    return isObject(value) ? value : {}
  } catch (cause) {
    if (cause instanceof JsonError) return {}
    throw cause
  }
}

/** The body of a 200. @throws MatrixError */
function taken({ server, status, body }: IdentityAnswer): JsonObject {
  if (status === 200) return body
  if (status === 429) throw limitExceeded(1000)
  const said = (ownString(body, 'error') ?? '').slice(0, LONGEST_TEXT).toWellFormed()
  if (status === 401 || status === 403) throw forbidden(`The identity server ${server} refuses: ${said}`)
  if (status === 400) throw invalidParam(`The identity server ${server} does not take the address: ${said}`)
  throw new MatrixError(502, 'M_UNKNOWN', `The identity server ${server} failed to answer`)
}

/** Of those it found; undefined where it found none. */
function userIdIn(server: string, found: Json | undefined): string | undefined {
  if (found === undefined) return undefined
  if (typeof found !== 'string' || !isUserId(found)) throw malformed(server)
  return found
}

function keptInvite(server: string, body: JsonObject): KeptInvite {
  const token = ownString(body, 'token')
  const listed = own(body, 'public_keys')
  const keys = Array.isArray(listed) ? listed.slice(0, MOST_KEYS).map(keyIn) : []
  const [first, ...others] = keys.filter((key) => key !== undefined)
  // "a string consisting of the characters [0-9a-zA-Z.=_-]. Its length must not exceed 255 characters"
  if (token === undefined || !/^[0-9a-zA-Z.=_-]{1,255}$/.test(token) || first === undefined) throw malformed(server)
  return { token, displayName: ownString(body, 'display_name') ?? '', publicKeys: [first, ...others] }
}

function keyIn(key: Json): KeptInvite['publicKeys'][0] | undefined {
  const public_key = isObject(key) ? ownString(key, 'public_key') : undefined
  const key_validity_url = isObject(key) ? ownString(key, 'key_validity_url') : undefined
  if (public_key === undefined || key_validity_url === undefined) return undefined
  return decodeBase64(public_key)?.length === 32 ? { public_key, key_validity_url } : undefined
}

const unreachable = (server: string) =>
  new MatrixError(504, 'M_UNKNOWN', `The identity server ${server} cannot be reached now`)

const malformed = (server: string) =>
  new MatrixError(502, 'M_UNKNOWN', `The identity server ${server} gave an answer that is not valid`)
