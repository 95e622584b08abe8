/**
 * Asking other servers for the keys of a server that does not answer itself: `POST /_matrix/key/v2/query`.
 * https://spec.matrix.org/v1.19/server-server-api/#querying-keys-through-another-server
 *
 * What a notary hands on is the server's own word, with the server's signature and the notary's beside it; both have to be
 * right. So a notary can invent no key. It can hand on an old word: it is believed no longer than the word itself says.
 */
import { own, isObject, type JsonObject } from '../protocol/json.js'
import { elementTexts, memberTexts } from '../protocol/json-texts.js'
import { verifyJson } from '../protocol/signing.js'
import { JsonError, parseExactJson } from '../protocol/strict-json.js'
import { isKeyId } from '../protocol/x-matrix.js'
import type { VerifyKey } from '../room/inbound/peers.js'
import { Slots } from '../slots.js'
import type { KeyAnswer } from '../store/server-keys.js'
import { RemoteError, Unreachable, type Remote } from './remote.js'
import { readKeyAnswer } from './server-keys-answer.js'

/** In ms, for a notary's answer: it may ask the server itself before. */
const TIMEOUT = 15_000
const MAX_BYTES = 256 * 1024
/** Requests to all notaries. */
const AT_ONCE = 20
/** Of a server; a notary that keeps old ones gives them all. */
const MAX_ANSWERS = 20
/** Of a notary on an answer. */
const MAX_SIGNATURES = 5

type KeysOf = (
  notary: string,
  keyIds: readonly string[],
  signal: AbortSignal,
) => Promise<ReadonlyMap<string, VerifyKey>>

export class Notaries {
  readonly #slots = new Slots(AT_ONCE)

  constructor(
    private readonly remote: Pick<Remote, 'unsigned'>,
    private readonly now: () => number,
    private readonly names: readonly string[],
    private readonly keysOf: KeysOf,
  ) {}

  /** The newest that the first notary has that has any. For a notary nobody else speaks. */
  async ask(server: string, signal: AbortSignal): Promise<KeyAnswer | undefined> {
    if (this.names.includes(server)) return undefined
    for (const notary of this.names) {
      try {
        const answers = await this.#answersOf(notary, server, signal)
        if (answers.length > 0) return answers.reduce((best, answer) => (isNewer(answer, best) ? answer : best))
      } catch (cause) {
        if (!(cause instanceof RemoteError || cause instanceof Unreachable || cause instanceof JsonError)) throw cause
      }
    }
    return undefined
  }

  async #answersOf(notary: string, server: string, signal: AbortSignal): Promise<KeyAnswer[]> {
    const content = { server_keys: { [server]: {} } }
    const limits = { timeout: TIMEOUT, maxBytes: MAX_BYTES }
    const request = { method: 'POST', path: '/_matrix/key/v2/query', content, ...limits } as const
    const text = await this.#slots.run(() => this.remote.unsigned(notary, request, signal), signal)
    const given = elementTexts(memberTexts(text).get('server_keys') ?? '[]').slice(0, MAX_ANSWERS)
    const answers: KeyAnswer[] = []
    for (const one of given) {
      const answer = wordOf(one, server, this.now())
      if (answer !== undefined && (await this.#isVouchedFor(notary, one, signal))) answers.push(answer)
    }
    return answers
  }

  async #isVouchedFor(notary: string, text: string, signal: AbortSignal): Promise<boolean> {
    const answer = parseExactJson(text) as JsonObject
    const signatures = own(answer, 'signatures')
    const ofNotary = isObject(signatures) ? own(signatures, notary) : undefined
    const keyIds = isObject(ofNotary) ? Object.keys(ofNotary).filter(isKeyId).slice(0, MAX_SIGNATURES) : []
    const keys = keyIds.length === 0 ? new Map<string, VerifyKey>() : await this.keysOf(notary, keyIds, signal)
    return [...keys].some(
      ([keyId, { key, validUntil }]) => validUntil >= this.now() && verifyJson(answer, notary, keyId, key),
    )
  }
}

/** Whether a server said it after the other: each of its answers is good for longer than the one before. */
export const isNewer = (answer: KeyAnswer, than: KeyAnswer): boolean => saidUntil(answer) > saidUntil(than)

const saidUntil = ({ body }: KeyAnswer): number => Number(own(parseExactJson(body) as JsonObject, 'valid_until_ts'))

/** undefined: it is not the server's word. */
function wordOf(text: string, server: string, now: number): KeyAnswer | undefined {
  try {
    return readKeyAnswer(text, server, now)
  } catch {
    return undefined
  }
}
