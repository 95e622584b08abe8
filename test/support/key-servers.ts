import { randomBytes } from 'node:crypto'
import type { Remote, RemoteRequest } from '../../src/federation/remote.js'
import { Unreachable } from '../../src/federation/remote.js'
import { encodeBase64 } from '../../src/protocol/base64.js'
import type { JsonObject } from '../../src/protocol/json.js'
import { signingKeyFromSeed, signJson, type SigningKey } from '../../src/protocol/signing.js'

const DAY = 24 * 3_600_000

export const newKey = (version: string): SigningKey => signingKeyFromSeed(version, randomBytes(32))

/** A clock that tests move. */
export class Clock {
  constructor(public time = 1_800_000_000_000) {}
  readonly now = (): number => this.time
  pass(ms: number): void {
    this.time += ms
  }
}

export interface PublishedBy {
  readonly keys: readonly SigningKey[]
  readonly old?: readonly { readonly key: SigningKey; readonly expiredTs: number }[]
  readonly validUntil?: number
}

/** The answer of a server to /_matrix/key/v2/server, signed by all its keys. */
export function keyAnswer(serverName: string, { keys, old = [], validUntil = 0 }: PublishedBy): JsonObject {
  const shown = (key: SigningKey) => encodeBase64(key.publicKey)
  const answer: JsonObject = {
    server_name: serverName,
    verify_keys: Object.fromEntries(keys.map((key) => [key.keyId, { key: shown(key) }])),
    old_verify_keys: Object.fromEntries(
      old.map(({ key, expiredTs }) => [key.keyId, { key: shown(key), expired_ts: expiredTs }]),
    ),
    valid_until_ts: validUntil,
  }
  return keys.reduce((signed, key) => signJson(signed, serverName, key), answer)
}

type Answer = string | (() => Promise<string> | string)

/** Servers that are asked for their keys. Those that nobody has scripted do not answer. */
export class KeyServers implements Pick<Remote, 'unsigned'> {
  readonly #answers = new Map<string, Answer>()
  /** Whom was asked, in order. */
  readonly asked: string[] = []

  constructor(private readonly clock: Clock) {}

  publish(serverName: string, ...keys: SigningKey[]): void {
    this.answer(serverName, () => JSON.stringify(keyAnswer(serverName, { keys, validUntil: this.clock.now() + DAY })))
  }

  answer(serverName: string, answer: Answer): void {
    this.#answers.set(serverName, answer)
  }

  fall(serverName: string): void {
    this.#answers.delete(serverName)
  }

  timesAsked(serverName: string): number {
    return this.asked.filter((name) => name === serverName).length
  }

  async unsigned(destination: string, request: RemoteRequest): Promise<string> {
    if (request.method !== 'GET' || request.path !== '/_matrix/key/v2/server') throw new Error(`asked ${request.path}`)
    this.asked.push(destination)
    const answer = this.#answers.get(destination)
    if (answer === undefined) throw new Unreachable(destination, 'connection refused')
    return typeof answer === 'string' ? answer : answer()
  }
}
