/**
 * The little of the client-server API that a load generator speaks, as any homeserver has it.
 * https://spec.matrix.org/v1.19/client-server-api/
 */

import { createHmac, randomBytes } from 'node:crypto'
import { describe } from './errors.js'
import { Connection, requestText } from './http/connection.js'
import type { Answer } from './http/response-parser.js'
import type { Target } from './target.js'

export interface Account {
  readonly userId: string
  readonly token: string
}

/** A request of the preparation that failed, without which the run makes no sense. */
export class RequestFailed extends Error {
  override readonly name = 'RequestFailed'
}

interface Reply {
  readonly [key: string]: unknown
}

/** Requests outside the measured loops, over as many kept-alive connections as are used at a time. */
export class Api {
  readonly #idle: Connection[] = []

  constructor(readonly target: Target) {}

  /** @throws RequestFailed unless the answer is 200 with a JSON object */
  async call(method: string, path: string, token?: string, body?: object): Promise<Reply> {
    const answer = await this.answer(method, path, token, body)
    if (answer.status !== 200) throw this.#failed(method, path, describe(answer))
    return JSON.parse(answer.body.toString()) as Reply
  }

  async answer(method: string, path: string, token?: string, body?: object): Promise<Answer> {
    const connection = this.#idle.pop() ?? new Connection(this.target.endpoint)
    const text = requestText(this.target.endpoint, method, path, token, body && JSON.stringify(body))
    try {
      const answer = await connection.request(text)
      this.#idle.push(connection)
      return answer
    } catch (cause) {
      connection.close()
      throw this.#failed(method, path, (cause as Error).message, cause)
    }
  }

  close(): void {
    for (const connection of this.#idle.splice(0)) connection.close()
  }

  #failed(method: string, path: string, why: string, cause?: unknown): RequestFailed {
    return new RequestFailed(`${this.target.label}: ${method} ${path.split('?')[0]}: ${why}`, { cause })
  }
}

export async function register(api: Api, username: string): Promise<Account> {
  const { sharedSecret } = api.target
  const { user_id, access_token } =
    sharedSecret === undefined
      ? await registerOpenly(api, username)
      : await registerBySecret(api, username, sharedSecret)
  return { userId: String(user_id), token: String(access_token) }
}

const newPassword = () => randomBytes(18).toString('base64url')

/** Open registration: the `m.login.dummy` stage, in the session that the first answer opens. */
async function registerOpenly(api: Api, username: string): Promise<Reply> {
  const path = '/_matrix/client/v3/register'
  const body = { username, password: newPassword(), initial_device_display_name: 'bench' }
  const first = await api.answer('POST', path, undefined, body)
  if (first.status !== 401) return api.call('POST', path, undefined, { ...body, auth: { type: 'm.login.dummy' } })
  const { session } = JSON.parse(first.body.toString()) as { session?: string }
  return api.call('POST', path, undefined, { ...body, auth: { type: 'm.login.dummy', session } })
}

/** https://element-hq.github.io/synapse/latest/admin_api/register_api.html */
async function registerBySecret(api: Api, username: string, secret: string): Promise<Reply> {
  const path = '/_synapse/admin/v1/register'
  const nonce = String((await api.call('GET', path)).nonce)
  const password = newPassword()
  const mac = createHmac('sha1', secret).update([nonce, username, password, 'notadmin'].join('\0')).digest('hex')
  return api.call('POST', path, undefined, { nonce, username, password, admin: false, mac })
}

/** A public room that its creator is in. */
export async function createRoom(api: Api, creator: Account, roomVersion: string): Promise<string> {
  const body = { preset: 'public_chat', room_version: roomVersion }
  return String((await api.call('POST', '/_matrix/client/v3/createRoom', creator.token, body)).room_id)
}

export const joinPath = (roomId: string) => `/_matrix/client/v3/join/${encodeURIComponent(roomId)}`

export const sendPath = (roomId: string, txnId: string) =>
  `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${txnId}`

/** What Element asks for, and nothing to do with presence. */
const ELEMENT_FILTER = { room: { timeline: { limit: 20 }, state: { lazy_load_members: true } } }

export function syncPath(since: string | undefined, timeoutMs: number, filter: object = ELEMENT_FILTER): string {
  const query = new URLSearchParams({ filter: JSON.stringify(filter), set_presence: 'offline' })
  if (since !== undefined) query.set('since', since)
  if (timeoutMs > 0) query.set('timeout', String(timeoutMs))
  return `/_matrix/client/v3/sync?${query}`
}

/** A filter that selects the same and that no server has seen yet, so that no answer comes from a cache of answers. */
export const uncachedFilter = (unique: string) => ({ ...ELEMENT_FILTER, account_data: { not_types: [unique] } })

const NEXT_BATCH = Buffer.from('"next_batch"')

/**
 * The `next_batch` of a sync answer, found without parsing it. (Inside a string the quotes would be escaped, and no
 * event of the generator's has a key of that name.) `undefined` when there is none.
 */
export function nextBatch(body: Buffer): string | undefined {
  const key = body.indexOf(NEXT_BATCH)
  if (key < 0) return undefined
  const value = /^\s*:\s*("(?:[^"\\]|\\.)*")/.exec(body.toString('utf8', key + NEXT_BATCH.length, key + 1000))
  return value === null ? undefined : (JSON.parse(value[1]!) as string)
}
