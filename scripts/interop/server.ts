import type { TestUser } from '../../test/support/test-user.js'
import type { Link } from '../../test/support/link.js'
import type { HeldRoom } from './held-room.js'

/** A homeserver that takes part: its clients' side, its link to the others, and a look into its database. */
export interface Server {
  readonly kind: 'Hearth' | 'Synapse'
  /** `localhost:PORT` */
  readonly name: string
  readonly link: Link
  /** A new one. */
  user(localpart?: string): Promise<TestUser>
  /** By its database. */
  room(roomId: string): Promise<HeldRoom>
  /** Ends it as an operator does, and starts it again on its data. */
  restart(): Promise<void>
  stop(): Promise<void>
}

/** What all servers are started with, and trust. */
export interface Surroundings {
  /** For whatever they write; theirs alone. */
  readonly folder: string
  /** Certificates for `localhost`, in PEM files. */
  readonly tls: { readonly ca: string; readonly cert: string; readonly key: string }
}
