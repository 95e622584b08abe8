import type { Kysely } from 'kysely'
import { LRUCache } from 'lru-cache'
import type { Logger } from '../logger.js'
import type { DeviceNumber } from '../protocol/numbers.js'
import { unknownToken } from '../protocol/matrix-error.js'
import { noteSightings, tokenOwners, type Sighting, type TokenOwner } from '../store/devices.js'
import type { Tables } from '../store/tables.js'
import type { Requester } from './requester.js'
import { sha256Base64 } from './secrets.js'

/**
 * Who an access token belongs to, from memory: a request costs a hash and a look-up.
 *
 * Another process may have logged the device out. What was read less than three seconds ago is taken as it is; up to
 * fifteen seconds it is taken and read again meanwhile; older, it is read first. So a token that was revoked elsewhere
 * works for three seconds more, or, if it was not used in the last three, for one request within fifteen. In the process
 * that revoked it, it ends at once. Reads of one turn of the event loop are one statement.
 *
 * When and from where a device was seen is written at most every five minutes, and lost if the process dies before.
 */
const FRESH_MS = 3_000
const STALE_MS = 15_000
const SIGHTING_MS = 5 * 60_000

interface Entry {
  readonly requester: Requester
  readonly hash: string
  /** On the clock that never jumps. */
  checkedAt: number
  /** A read is on its way. */
  checking: boolean
  seenTs: number
}

interface Waiting {
  resolve(entry: Entry | undefined): void
  reject(cause: unknown): void
}

export interface AccessTokensOptions {
  readonly db: Kysely<Tables>
  readonly logger: Logger
  readonly maxEntries?: number
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic?: () => number
  readonly nowTs?: () => number
}

export class AccessTokens {
  readonly #db: Kysely<Tables>
  readonly #logger: Logger
  readonly #monotonic: () => number
  readonly #nowTs: () => number
  readonly #entries: LRUCache<string, Entry>
  readonly #byDevice = new Map<DeviceNumber, Entry>()
  readonly #wanted = new Map<string, Waiting[]>()
  readonly #sightings = new Map<DeviceNumber, Sighting>()
  /** Grows with each revocation: what was read before one is not kept. */
  #revocations = 0
  #scheduled = false

  constructor({ db, logger, maxEntries = 50_000, monotonic, nowTs }: AccessTokensOptions) {
    this.#db = db
    this.#logger = logger
    this.#monotonic = monotonic ?? (() => performance.now())
    this.#nowTs = nowTs ?? Date.now
    this.#entries = new LRUCache({
      max: maxEntries,
      dispose: (entry) => {
        if (this.#byDevice.get(entry.requester.device) === entry) this.#byDevice.delete(entry.requester.device)
      },
    })
  }

  /** Throws M_UNKNOWN_TOKEN. */
  authenticate(token: string, ip: string): Requester | Promise<Requester> {
    const hash = sha256Base64(token)
    const entry = this.#entries.get(hash)
    const age = entry === undefined ? Infinity : this.#monotonic() - entry.checkedAt
    if (entry === undefined || age > STALE_MS) return this.#readRequester(hash, ip)

    if (age > FRESH_MS && !entry.checking) this.#readAgain(entry)
    this.#noteSeen(entry, ip)
    return entry.requester
  }

  /** Their tokens end now. To be called when the database no longer has them. */
  forget(devices: Iterable<DeviceNumber>): void {
    this.#revocations += 1
    for (const device of devices) {
      const entry = this.#byDevice.get(device)
      if (entry !== undefined) this.#entries.delete(entry.hash)
      this.#sightings.delete(device)
    }
  }

  async #readRequester(hash: string, ip: string): Promise<Requester> {
    const entry = await this.#read(hash)
    if (entry === undefined) throw unknownToken()
    this.#noteSeen(entry, ip)
    return entry.requester
  }

  #readAgain(entry: Entry): void {
    entry.checking = true
    this.#read(entry.hash).catch((cause: unknown) => {
      // What we have is good until it is too old; then the request itself meets the error.
      entry.checking = false
      this.#logger.warn({ err: cause }, 'could not look an access token up again')
    })
  }

  #read(hash: string): Promise<Entry | undefined> {
    return new Promise((resolve, reject) => {
      const waiting = this.#wanted.get(hash)
      if (waiting === undefined) this.#wanted.set(hash, [{ resolve, reject }])
      else waiting.push({ resolve, reject })
      this.#schedule()
    })
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      void this.#readWanted()
      void this.#writeSightings()
    })
  }

  async #readWanted(): Promise<void> {
    const wanted = new Map(this.#wanted)
    this.#wanted.clear()
    if (wanted.size === 0) return
    try {
      const found = await this.#load([...wanted.keys()])
      for (const [hash, waiting] of wanted) for (const { resolve } of waiting) resolve(found.get(hash))
    } catch (cause) {
      for (const waiting of wanted.values()) for (const { reject } of waiting) reject(cause)
    }
  }

  async #load(hashes: readonly string[]): Promise<Map<string, Entry>> {
    const revocations = this.#revocations
    const checkedAt = this.#monotonic()
    const owners = await tokenOwners(
      this.#db,
      hashes.map((hash) => Buffer.from(hash, 'base64')),
    )
    const found = new Map(owners.map((owner) => entryOf(owner, checkedAt)).map((entry) => [entry.hash, entry]))
    for (const hash of hashes) {
      const entry = found.get(hash)
      if (entry === undefined) this.#entries.delete(hash)
      else if (revocations === this.#revocations) this.#keep(entry)
      else this.#checkLater(hash)
    }
    return found
  }

  #keep(entry: Entry): void {
    const previous = this.#entries.get(entry.hash)
    if (previous !== undefined) entry.seenTs = Math.max(entry.seenTs, previous.seenTs)
    this.#entries.set(entry.hash, entry)
    this.#byDevice.set(entry.requester.device, entry)
  }

  #checkLater(hash: string): void {
    const entry = this.#entries.get(hash)
    if (entry !== undefined) entry.checking = false
  }

  #noteSeen(entry: Entry, ip: string): void {
    const ts = this.#nowTs()
    if (ts - entry.seenTs < SIGHTING_MS) return
    entry.seenTs = ts
    this.#sightings.set(entry.requester.device, { device: entry.requester.device, ts, ip })
    this.#schedule()
  }

  async #writeSightings(): Promise<void> {
    const sightings = [...this.#sightings.values()]
    this.#sightings.clear()
    if (sightings.length === 0) return
    try {
      await noteSightings(this.#db, sightings)
    } catch (cause) {
      // Nothing depends on it, and in five minutes there is another.
      this.#logger.warn({ err: cause }, 'could not note when devices were last seen')
    }
  }
}

function entryOf(owner: TokenOwner, checkedAt: number): Entry {
  const { userId, device, deviceId, isAdmin } = owner
  return {
    requester: { userId, device, deviceId, isAdmin },
    hash: owner.tokenHash.toString('base64'),
    checkedAt,
    checking: false,
    seenTs: owner.lastSeenTs,
  }
}
