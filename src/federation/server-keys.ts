/**
 * The keys that servers sign with: ours and everybody's. A server is asked itself, at /_matrix/key/v2/server; where it does
 * not answer, the notaries that the configuration names, if it does. What it answers is kept in the database and verifies
 * its events from then on, also when it is gone.
 *
 * Keys are asked for again when half of an answer's time is over (in the background, while the answer still counts),
 * when its time is over, and when something is signed with a key that is not in it. How often that may be is decided in
 * server-keys-fetching.ts.
 *
 * https://spec.matrix.org/v1.19/server-server-api/#retrieving-server-keys
 */
import type { Kysely } from 'kysely'
import { LRUCache } from 'lru-cache'
import { isServerName } from '../protocol/identifiers.js'
import type { SigningKey } from '../protocol/signing.js'
import type { VerifyKey } from '../room/inbound/peers.js'
import { oldVerifyKeys } from '../store/server.js'
import { keepKeyAnswer, keyAnswers, type KeyAnswer, type PublishedKey } from '../store/server-keys.js'
import type { Tables } from '../store/tables.js'
import { Unreachable, type Remote } from './remote.js'
import { KeyFetching } from './server-keys-fetching.js'
import { isNewer, Notaries } from './server-keys-notaries.js'

export interface ServerKeysDeps {
  readonly db: Kysely<Tables>
  readonly remote: Pick<Remote, 'unsigned'>
  /** In ms. */
  readonly now: () => number
  readonly logger: { debug(fields: object, message: string): void; error(fields: object, message: string): void }
  readonly serverName: string
  readonly signingKey: SigningKey
  /** Servers that are asked for the keys of others. */
  readonly notaries?: readonly string[]
}

/** What this process keeps of them in memory. */
const MAX_KEYS_IN_MEMORY = 50_000

/** Of one server, from all its answers that are kept. */
interface Known {
  readonly keys: ReadonlyMap<string, PublishedKey>
  /** When half the time of the newest answer is over. 0 without one. */
  readonly refreshTs: number
}

const nothing: Known = { keys: new Map(), refreshTs: 0 }

export class ServerKeys {
  readonly #known = new LRUCache<string, Known>({
    maxSize: MAX_KEYS_IN_MEMORY,
    sizeCalculation: ({ keys }) => keys.size + 1,
  })
  readonly #fetching: KeyFetching
  readonly #notaries: Notaries
  #own: Promise<ReadonlyMap<string, VerifyKey>> | undefined

  constructor(readonly deps: ServerKeysDeps) {
    const { remote, now, notaries = [] } = deps
    const elsewhere = (server: string, signal: AbortSignal) => this.#elsewhere(server, signal)
    this.#notaries = new Notaries(remote, now, notaries, (notary, keyIds, signal) =>
      this.keys(notary, keyIds, now(), signal),
    )
    this.#fetching = new KeyFetching(remote, now, (answer) => this.#keep(answer), elsewhere)
  }

  /** Ends the requests under way. */
  close(): Promise<void> {
    return this.#fetching.close()
  }

  /**
   * The keys of a server, by key id; those it does not have are absent. It is asked when a key is not known, or ends
   * before `validAt` (ms). @throws Unreachable when it does not answer, and no key is known that counts by then, or now.
   */
  async keys(
    server: string,
    keyIds: readonly string[],
    validAt: number,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, VerifyKey>> {
    if (server === this.deps.serverName) return picked(await this.#ownKeys(), keyIds)
    if (!isServerName(server)) return new Map()

    const suffices = (known: Known) => keyIds.every((keyId) => counts(known.keys.get(keyId), validAt))
    let known = this.#known.get(server) ?? nothing
    if (!suffices(known) || this.#isDue(known)) known = await this.#load(server)
    if (suffices(known)) {
      if (this.#isDue(known)) this.#refresh(server)
      return picked(known.keys, keyIds)
    }

    const atLeast = Math.min(validAt, this.deps.now())
    const asked = await this.#fetched(server, signal).catch((cause: unknown) => {
      const some = keyIds.some((keyId) => counts(known.keys.get(keyId), atLeast))
      if (cause instanceof Unreachable && some) return undefined
      throw cause
    })
    return picked((asked ?? known).keys, keyIds)
  }

  /** Whether any key of the server is at hand: it has been there at some time. */
  async knows(server: string): Promise<boolean> {
    return server === this.deps.serverName || (this.#known.get(server) ?? (await this.#load(server))) !== nothing
  }

  /** The answers that are kept of these servers, newest first. */
  answers(servers: readonly string[]): Promise<ReadonlyMap<string, readonly KeyAnswer[]>> {
    return keyAnswers(this.deps.db, servers, this.deps.now())
  }

  /** Asks the server, unless it has answered often enough of late. @throws Unreachable */
  async refresh(server: string, signal: AbortSignal): Promise<void> {
    await this.#fetched(server, signal)
  }

  #isDue({ refreshTs }: Known): boolean {
    return refreshTs < this.deps.now()
  }

  /** What another process has fetched meanwhile is here too. */
  async #load(server: string): Promise<Known> {
    const known = knownFrom((await this.answers([server])).get(server) ?? [])
    if (known !== nothing) this.#known.set(server, known)
    return known
  }

  async #keep(answer: KeyAnswer): Promise<void> {
    await keepKeyAnswer(this.deps.db, answer)
    const keyIds = answer.keys.map(({ keyId }) => keyId)
    this.deps.logger.debug({ server: answer.serverName, keys: keyIds }, 'keys of a server')
  }

  /** A notary may have an answer that is older than ours, in which a key counts that does so no more. */
  async #elsewhere(server: string, signal: AbortSignal): Promise<KeyAnswer | undefined> {
    const answer = await this.#notaries.ask(server, signal)
    const [newest] = (answer && (await this.answers([server])).get(server)) ?? []
    const isNews = answer !== undefined && (newest === undefined || isNewer(answer, newest))
    return isNews ? answer : undefined
  }

  /** Undefined when it has answered often enough of late. */
  async #fetched(server: string, signal: AbortSignal): Promise<Known | undefined> {
    const fetching = this.#fetching.fetch(server)
    if (fetching === undefined) return undefined
    await unlessAborted(fetching, signal)
    return this.#load(server)
  }

  /** Nobody waits for it: the keys at hand count for some time. */
  #refresh(server: string): void {
    const never = new AbortController().signal
    this.#fetched(server, never).catch((cause: unknown) => {
      if (!(cause instanceof Unreachable)) this.deps.logger.error({ err: cause, server }, 'keys were not refreshed')
    })
  }

  /** A rotation of ours ends with a start. */
  #ownKeys(): Promise<ReadonlyMap<string, VerifyKey>> {
    const { db, signingKey } = this.deps
    const read = async () => {
      const old = (await oldVerifyKeys(db)).map(
        ({ keyId, publicKey, expiredTs }) => [keyId, { key: publicKey, validUntil: expiredTs }] as const,
      )
      return new Map([...old, [signingKey.keyId, { key: signingKey.publicKey, validUntil: Number.MAX_SAFE_INTEGER }]])
    }
    this.#own ??= read().catch((cause: unknown) => {
      this.#own = undefined
      throw cause
    })
    return this.#own
  }
}

/** Asking again changes nothing of an old key. */
const counts = (key: PublishedKey | undefined, validAt: number): boolean =>
  key !== undefined && (key.isOld || key.validUntil >= validAt)

function knownFrom(answers: readonly KeyAnswer[]): Known {
  const [newest] = answers
  if (newest === undefined) return nothing
  const keys = answers.flatMap((answer) => answer.keys.map((key) => [key.keyId, key] as const))
  return { keys: new Map(keys), refreshTs: (newest.fetchedTs + newest.validUntil) / 2 }
}

function picked(keys: ReadonlyMap<string, VerifyKey>, keyIds: readonly string[]): ReadonlyMap<string, VerifyKey> {
  const found = new Map<string, VerifyKey>()
  for (const keyId of keyIds) {
    const key = keys.get(keyId)
    if (key !== undefined) found.set(keyId, key)
  }
  return found
}

/** Others may wait for the same promise: who has no more patience leaves it alone. */
function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const leave = () => reject(signal.reason as Error)
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave))
    signal.addEventListener('abort', leave)
    if (signal.aborted) leave()
  })
}
