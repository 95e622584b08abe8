import type { Kysely } from 'kysely'
import type { Accounts } from '../accounts/accounts.js'
import type { InteractiveAuth } from '../accounts/interactive-auth.js'
import type { SharedSecretRegistration } from '../accounts/shared-secret.js'
import type { Config } from '../config.js'
import type { Tables } from '../store/tables.js'

/** What handlers may take. `homeserver.ts` makes it. */
export interface Services {
  readonly config: Pick<Config, 'serverName' | 'publicBaseUrl' | 'registration'>
  readonly db: Kysely<Tables>
  readonly accounts: Accounts
  readonly interactiveAuth: InteractiveAuth
  /** Undefined without REGISTRATION_SHARED_SECRET. */
  readonly sharedSecretRegistration: SharedSecretRegistration | undefined
}
