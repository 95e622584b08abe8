import type { Kysely } from 'kysely'
import { encodeBase64 } from '../protocol/base64.js'
import type { JsonObject } from '../protocol/json.js'
import { signJson, type SigningKey } from '../protocol/signing.js'
import { oldVerifyKeys } from '../store/server.js'
import type { Tables } from '../store/tables.js'

export interface OwnKeysDeps {
  readonly db: Kysely<Tables>
  /** In ms. */
  readonly now: () => number
  readonly serverName: string
  readonly signingKey: SigningKey
}

const HOUR = 3_600_000
/** "Originating servers should avoid returning responses that expire in less than an hour". */
const VALIDITY = 24 * HOUR
/** For so long the same answer is given: signing it for everybody who asks would be work that strangers make. */
const RENEWAL = HOUR

/** The keys of this server as it publishes them, signed with its key. */
export class OwnKeys {
  #answer: { readonly until: number; readonly object: JsonObject } | undefined

  constructor(private readonly deps: OwnKeysDeps) {}

  async published(): Promise<JsonObject> {
    const now = this.deps.now()
    if (this.#answer === undefined || this.#answer.until <= now) {
      this.#answer = { until: now + RENEWAL, object: await this.#sign(now) }
    }
    return this.#answer.object
  }

  async #sign(now: number): Promise<JsonObject> {
    const { db, serverName, signingKey } = this.deps
    const old = (await oldVerifyKeys(db)).map(({ keyId, publicKey, expiredTs }) => [
      keyId,
      { expired_ts: expiredTs, key: encodeBase64(publicKey) },
    ])
    return signJson(
      {
        server_name: serverName,
        verify_keys: { [signingKey.keyId]: { key: encodeBase64(signingKey.publicKey) } },
        old_verify_keys: Object.fromEntries(old) as JsonObject,
        valid_until_ts: now + VALIDITY,
      },
      serverName,
      signingKey,
    )
  }
}
