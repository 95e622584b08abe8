import { isServerName } from '../protocol/identifiers.js'
import type { JsonObject } from '../protocol/json.js'
import { signJson } from '../protocol/signing.js'
import { parseExactJson } from '../protocol/strict-json.js'
import type { KeyAnswer } from '../store/server-keys.js'
import { Unreachable } from './remote.js'
import type { ServerKeys } from './server-keys.js'
import type { OwnKeys } from './server-keys-own.js'
import { Slots } from './server-keys-slots.js'

/** What somebody wants to know of one server: until when each key should be valid, in ms. Without keys: all, until now. */
export interface KeyQuery {
  readonly serverName: string
  readonly keys: ReadonlyMap<string, number>
  /** Of an answer without regard to its keys, in ms. */
  readonly validUntil: number
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

  /** `server_keys` of the answer, in the order of the queries. */
  async vouch(queries: readonly KeyQuery[], signal: AbortSignal): Promise<JsonObject[]> {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)])
    return (await Promise.all(queries.map((query) => this.#answerTo(query, patience)))).flat()
  }

  async #answerTo(query: KeyQuery, patience: AbortSignal): Promise<JsonObject[]> {
    const { serverName } = query
    const { deps } = this.serverKeys
    if (serverName === deps.serverName) return [await this.own.published()]
    if (!isServerName(serverName)) return []

    let answers = await this.serverKeys.answers(serverName)
    if (!suffice(answers, query, deps.now())) {
      await this.#refresh(serverName, patience)
      answers = await this.serverKeys.answers(serverName)
    }
    return asked(answers, query).map(({ body }) =>
      signJson(parseExactJson(body) as JsonObject, deps.serverName, deps.signingKey),
    )
  }

  async #refresh(serverName: string, patience: AbortSignal): Promise<void> {
    try {
      await this.#slots.run(() => this.serverKeys.refresh(serverName, patience), patience)
    } catch (cause) {
      if (!(cause instanceof Unreachable) && !patience.aborted) throw cause
    }
  }
}

/** "Intermediate notary servers should cache a response for half of its lifetime to avoid serving a stale response." */
function suffice(answers: readonly KeyAnswer[], query: KeyQuery, nowTs: number): boolean {
  const [newest] = answers
  if (newest === undefined || (newest.fetchedTs + newest.validUntil) / 2 < nowTs) return false
  const keys = new Map(answers.flatMap((answer) => answer.keys.map((key) => [key.keyId, key] as const)))
  if (query.keys.size === 0) return newest.validUntil >= query.validUntil
  return [...query.keys].every(([keyId, validUntil]) => {
    const key = keys.get(keyId)
    return key !== undefined && (key.isOld || key.validUntil >= validUntil)
  })
}

/** Those that have a key that was asked for; all where none was. */
const asked = (answers: readonly KeyAnswer[], { keys }: KeyQuery): readonly KeyAnswer[] =>
  keys.size === 0 ? answers : answers.filter((answer) => answer.keys.some(({ keyId }) => keys.has(keyId)))
