import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { newSecret } from './secrets.js'

/**
 * Registration by a shared secret, as Synapse has it: the client asks for a nonce and signs it, with the account it wants,
 * by HMAC-SHA1 under the secret.
 * https://element-hq.github.io/synapse/latest/admin_api/register_api.html
 *
 * A nonce is not kept. It is its time and a random part, authenticated, so that any process can tell that one of us made
 * it less than a minute ago. It could be used twice in that minute, to make the same account with the same password: the
 * second time the name is taken.
 */
const NONCE_MS = 60_000

export class SharedSecretRegistration {
  readonly #nonceKey: Buffer

  constructor(
    private readonly secret: string,
    private readonly nowTs: () => number = Date.now,
  ) {
    this.#nonceKey = Buffer.from(hkdfSync('sha256', secret, '', 'hearth registration nonce', 32))
  }

  newNonce(): string {
    const head = `${this.nowTs().toString(36)}.${newSecret()}`
    return `${head}.${this.#tag(head)}`
  }

  isFresh(nonce: string): boolean {
    const end = nonce.lastIndexOf('.')
    const head = nonce.slice(0, Math.max(0, end))
    const age = this.nowTs() - Number.parseInt(head, 36)
    return sameText(nonce.slice(end + 1), this.#tag(head)) && age >= 0 && age < NONCE_MS
  }

  /** Whether `mac` (hexadecimal) is that of these values, in the order in which Synapse joins them. */
  isSigned(account: SignedAccount, mac: string): boolean {
    const { nonce, username, password, isAdmin, userType } = account
    const parts = [nonce, username, password, isAdmin ? 'admin' : 'notadmin']
    if (userType !== undefined) parts.push(userType)
    const expected = createHmac('sha1', this.secret).update(parts.join('\0')).digest('hex')
    return sameText(mac.toLowerCase(), expected)
  }

  #tag(head: string): string {
    return createHmac('sha256', this.#nonceKey).update(head).digest('base64url').slice(0, 22)
  }
}

export interface SignedAccount {
  readonly nonce: string
  readonly username: string
  readonly password: string
  readonly isAdmin: boolean
  readonly userType?: string | undefined
}

/** In a time that tells nothing of where they differ. */
function sameText(left: string, right: string): boolean {
  const [a, b] = [Buffer.from(left), Buffer.from(right)]
  return a.length === b.length && timingSafeEqual(a, b)
}
