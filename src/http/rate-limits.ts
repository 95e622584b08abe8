import { TokenBuckets, type Rate } from '../accounts/token-bucket.js'
import { limitExceeded } from '../protocol/matrix-error.js'

/**
 * How often one client may call, by the name an endpoint declares. A client is the user of the access token, or the
 * address where there is none. The buckets are kept by name, not by URL, so that no spelling of a path escapes them.
 * https://spec.matrix.org/v1.19/client-server-api/#rate-limiting
 */
const rates = {
  /** Each attempt may cost a password hash (19 MiB, 17 ms). Guessing is slowed more, by src/accounts/password-guesses.ts. */
  login: { burst: 60, perSecond: 1 },
  /** Accounts are for ever: an address behind which a class signs up at once is fine, a script is not. */
  registration: { burst: 60, perSecond: 0.2 },
  /** Asking whether names are free enumerates users. */
  'name-lookup': { burst: 50, perSecond: 1 },
  /** Fast typists and bridges stay under it; a loop that went wild does not. */
  message: { burst: 100, perSecond: 10 },
  /** Joins, invites and new rooms make work on other servers. */
  membership: { burst: 50, perSecond: 2 },
  /** Of another server, for all its users: each takes the room's lane, and a join a whole state. */
  handshake: { burst: 200, perSecond: 10 },
  /** Of an identity server, or of anybody: each may ask a hundred rooms, and their servers. */
  'third-party-bind': { burst: 20, perSecond: 0.5 },
  /** Each is a row for an hour. */
  'openid-token': { burst: 50, perSecond: 0.5 },
  /** What may need another server: whose alias it is, a profile, a directory. */
  'remote-query': { burst: 300, perSecond: 10 },
  /** Profile and account data changes are told to everybody who shares a room. */
  profile: { burst: 50, perSecond: 1 },
  /** Anybody may have us ask a hundred servers for their keys at once. */
  'key-query': { burst: 20, perSecond: 1 },
} satisfies Record<string, Rate>

export type RateLimitName = keyof typeof rates

export class RateLimits {
  readonly #buckets = new Map<RateLimitName, TokenBuckets>()

  constructor(readonly enabled: boolean) {
    for (const [name, rate] of Object.entries(rates)) this.#buckets.set(name as RateLimitName, new TokenBuckets(rate))
  }

  /** Throws M_LIMIT_EXCEEDED when the client has called too often. */
  check(name: RateLimitName, client: string): void {
    if (!this.enabled) return
    const wait = this.#buckets.get(name)?.take(client) ?? 0
    if (wait > 0) throw limitExceeded(wait)
  }
}
