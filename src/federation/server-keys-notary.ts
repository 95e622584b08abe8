import { isServerName } from '../protocol/identifiers.js'
import type { JsonObject } from '../protocol/json.js'
import { signJson } from '../protocol/signing.js'
import { parseExactJson } from '../protocol/strict-json.js'
import { Slots } from '../slots.js'
import type { KeyAnswer } from '../store/server-keys.js'
import { Unreachable } from './remote.js'
import type { ServerKeys } from './server-keys.js'
import type { OwnKeys } from './server-keys-own.js'

/** What somebody wants to know of one server. Without keys: all it has. */
export interface KeyQuery {
  readonly serverName: string
  /** Until when each should be valid, in ms; undefined: now. */
  readonly keys: ReadonlyMap<string, number | undefined>
  /** The same of an answer, where no keys are named. */
  readonly validUntil?: number | undefined
}

/** Servers that all who ask the notary make us ask, at once. */
const AT_ONCE = 20
/** In ms. What has not come by then is not in the answer. */
const PATIENCE = 10_000

/**
 * Says what keys other servers have, with our signature beside theirs. Servers that do not answer are spoken for by what
 * is kept of them. https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
 */
export class Notary {
  readonly #slots = new Slots(AT_ONCE)

  constructor(
    private readonly serverKeys: ServerKeys,
    private readonly own: OwnKeys,
  ) {}

  /** `server_keys` of the answer. Each server is asked for once in the queries. */
  async vouch(queries: readonly KeyQuery[], signal: AbortSignal): Promise<JsonObject[]> {
    const { now, serverName } = this.serverKeys.deps
    const ofOthers = queries.filter((query) => query.serverName !== serverName && isServerName(query.serverName))
    const known = await this.#answersTo(ofOthers)
    const stale = ofOthers.filter((query) => !suffice(known.get(query.serverName) ?? [], query, now()))
    await this.#refreshAll(stale, signal)
    const renewed = stale.length === 0 ? known : new Map([...known, ...(await this.#answersTo(stale))])

    const vouched = ofOthers.flatMap((query) => asked(renewed.get(query.serverName) ?? [], query)).map(this.#sign)
    const isOursAsked = queries.some((query) => query.serverName === serverName)
    return isOursAsked ? [await this.own.published(), ...vouched] : vouched
  }

  #answersTo(queries: readonly KeyQuery[]): ReturnType<ServerKeys['answers']> {
    return this.serverKeys.answers(queries.map(({ serverName }) => serverName))
  }

  readonly #sign = ({ body }: KeyAnswer): JsonObject => {
    const { serverName, signingKey } = this.serverKeys.deps
    return signJson(parseExactJson(body) as JsonObject, serverName, signingKey)
  }

  async #refreshAll(queries: readonly KeyQuery[], signal: AbortSignal): Promise<void> {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)])
    await Promise.all(
      queries.map(({ serverName }) =>
        this.#slots
          .run(() => this.serverKeys.refresh(serverName, patience), patience)
          .catch((cause: unknown) => {
            // What is kept has to do.
            if (!(cause instanceof Unreachable) && !patience.aborted) throw cause
          }),
      ),
    )
  }
}

/** "Intermediate notary servers should cache a response for half of its lifetime to avoid serving a stale response." */
function suffice(answers: readonly KeyAnswer[], query: KeyQuery, nowTs: number): boolean {
  const [newest] = answers
  if (newest === undefined || (newest.fetchedTs + newest.validUntil) / 2 < nowTs) return false
  const keys = new Map(answers.flatMap((answer) => answer.keys.map((key) => [key.keyId, key] as const)))
  if (query.keys.size === 0) return newest.validUntil >= (query.validUntil ?? nowTs)
  return [...query.keys].every(([keyId, validUntil = nowTs]) => {
    const key = keys.get(keyId)
    return key !== undefined && (key.isOld || key.validUntil >= validUntil)
  })
}

/** Those that have a key that was asked for; all where none was. */
const asked = (answers: readonly KeyAnswer[], { keys }: KeyQuery): readonly KeyAnswer[] =>
  keys.size === 0 ? answers : answers.filter((answer) => answer.keys.some(({ keyId }) => keys.has(keyId)))
