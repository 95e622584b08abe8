import { randomBytes } from 'node:crypto'
import { TestClient } from './http.js'

/** A client that is logged in, with the requests that most tests make. */
export class TestUser extends TestClient {
  constructor(
    baseUrl: string,
    accessToken: string,
    readonly userId: string,
    readonly deviceId: string,
  ) {
    super(baseUrl, accessToken)
  }

  /** The body of an answer that must be 200. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  async ok(method: string, path: string, body?: unknown): Promise<any> {
    const answer = await this.request(method, path, body)
    if (answer.status !== 200) {
      throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`)
    }
    return answer.body
  }

  async createRoom(options: object = { preset: 'public_chat' }): Promise<string> {
    return (await this.ok('POST', '/_matrix/client/v3/createRoom', options)).room_id
  }

  join = (roomId: string) => this.ok('POST', `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/join`, {})

  async say(roomId: string, body: string): Promise<string> {
    const path = `/_matrix/client/v3/rooms/${encodeURIComponent(roomId)}/send/m.room.message/${randomBytes(6).toString('hex')}`
    return (await this.ok('PUT', path, { msgtype: 'm.text', body })).event_id
  }

  /** Query parameters by name; `filter` may be an object. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  sync(parameters: Record<string, unknown> = {}): Promise<any> {
    const query = new URLSearchParams()
    for (const [name, value] of Object.entries(parameters)) {
      if (value !== undefined) query.set(name, typeof value === 'object' ? JSON.stringify(value) : String(value))
    }
    return this.ok('GET', `/_matrix/client/v3/sync?${query}`)
  }

  async syncToken(): Promise<string> {
    return (await this.sync()).next_batch
  }

  /** The same device at another process. */
  at = (baseUrl: string) => new TestUser(baseUrl, this.accessToken!, this.userId, this.deviceId)
}

/** Registers a user with the password `secret password`, where registration is open. */
export async function register(baseUrl: string, username: string): Promise<TestUser> {
  const { status, body } = await new TestClient(baseUrl).post('/_matrix/client/v3/register', {
    username,
    password: 'secret password',
    auth: { type: 'm.login.dummy' },
  })
  if (status !== 200) throw new Error(`could not register ${username}: ${status} ${JSON.stringify(body)}`)
  return new TestUser(baseUrl, body.access_token, body.user_id, body.device_id)
}
