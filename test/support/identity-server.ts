/** An identity server on loopback, in TLS: whose addresses it knows, the invites it keeps, and its word on them. */
import { hash, randomBytes } from 'node:crypto'
import { encodeBase64 } from '../../src/protocol/base64.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { signingKeyFromSeed, signJson, type SigningKey } from '../../src/protocol/signing.js'
import type { TestAuthority } from './certificates.js'
import { HttpsServer, json, type Asked } from './https-server.js'

export const identityToken = 'token-of-the-identity-server'

export interface Bind {
  readonly medium: string
  readonly address: string
  readonly mxid: string
  readonly invites: readonly JsonObject[]
}

export class IdentityServer {
  readonly key: SigningKey = signingKeyFromSeed('0', randomBytes(32))
  readonly stranger: SigningKey = signingKeyFromSeed('0', randomBytes(32))
  pepper = 'pepper'
  /** User ids by e-mail address. */
  readonly known = new Map<string, string>()
  /** What it was asked to keep, by token. */
  readonly kept = new Map<string, JsonObject>()
  /** Public keys that it does not stand by any more. */
  readonly revoked = new Set<string>()
  /** Answers in place of its own. */
  script: ((asked: Asked) => { status: number; body: unknown } | undefined) | undefined

  private constructor(
    readonly https: HttpsServer,
    readonly authority: TestAuthority,
  ) {
    https.script = (asked, response) => {
      const { status, body } = this.script?.(asked) ?? this.answer(asked)
      json(response, body, status)
    }
  }

  static async start(authority: TestAuthority): Promise<IdentityServer> {
    return new IdentityServer(await HttpsServer.listening(authority, ['localhost', '127.0.0.1']), authority)
  }

  close = () => this.https.close()

  get name(): string {
    return `localhost:${this.https.port}`
  }

  get publicKey(): string {
    return encodeBase64(this.key.publicKey)
  }

  get validityUrl(): string {
    return `https://${this.name}/_matrix/identity/v2/pubkey/isvalid`
  }

  /** Content of `m.room.third_party_invite`, without being asked for it. */
  offer(more: JsonObject = {}): JsonObject {
    const key = { public_key: this.publicKey, key_validity_url: this.validityUrl }
    return { display_name: 'c...@e...', ...key, public_keys: [key], ...more }
  }

  signed(mxid: string, token: string, more: JsonObject = {}, key = this.key): JsonObject {
    return signJson({ mxid, token, ...more }, this.name, key)
  }

  /** What it tells the user's server when they have shown that the address is theirs. */
  bind(mxid: string, ...tokens: readonly string[]): Bind {
    const address = 'carol@example.org'
    const invites = tokens.map((token) => {
      const { room_id, sender } = this.kept.get(token) as { room_id: string; sender: string }
      return { medium: 'email', address, mxid, room_id, sender, signed: this.signed(mxid, token) }
    })
    return { medium: 'email', address, mxid, invites }
  }

  private answer({ method, url, headers, body }: Asked): { status: number; body: unknown } {
    const { pathname, searchParams } = new URL(url, 'https://identity.test')
    const path = pathname.replace('/_matrix/identity/v2/', '')
    if (path === 'pubkey/isvalid') {
      const key = searchParams.get('public_key') ?? ''
      return { status: 200, body: { valid: key === this.publicKey && !this.revoked.has(key) } }
    }
    if (headers.authorization !== `Bearer ${identityToken}`)
      return { status: 401, body: { errcode: 'M_UNAUTHORIZED', error: 'Who are you?' } }
    const given = body === '' ? {} : (JSON.parse(body) as JsonObject)
    switch (`${method} ${path}`) {
      case 'GET hash_details':
        return { status: 200, body: { lookup_pepper: this.pepper, algorithms: ['none', 'sha256'] } }
      case 'POST lookup':
        return this.lookUp(given)
      case 'POST store-invite':
        return this.keep(given)
      default:
        return { status: 404, body: { errcode: 'M_UNRECOGNIZED', error: 'No such endpoint' } }
    }
  }

  private lookUp(given: JsonObject): { status: number; body: unknown } {
    if (given['pepper'] !== this.pepper) return { status: 400, body: { errcode: 'M_INVALID_PEPPER', error: 'Rotated' } }
    const byHash = [...this.known].map(([address, mxid]) => [
      hash('sha256', `${address} email ${this.pepper}`, 'base64url'),
      mxid,
    ])
    const asked = given['addresses'] as string[]
    return { status: 200, body: { mappings: Object.fromEntries(byHash.filter(([key]) => asked.includes(key!))) } }
  }

  private keep(given: JsonObject): { status: number; body: unknown } {
    const token = randomBytes(12).toString('hex')
    this.kept.set(token, given)
    const { display_name, public_keys } = this.offer() as { display_name: string; public_keys: unknown }
    return { status: 200, body: { token, display_name, public_keys } }
  }
}
