import { randomBytes } from 'node:crypto'
import { TestClient, type Answer, type RequestOptions } from '../support/http.js'
import { TestUser } from '../support/test-user.js'
import type { Exchange } from './conformance.js'

export const v3 = '/_matrix/client/v3'

/** Makes clients whose exchanges with the server are written down. */
export class Recording {
  readonly exchanges: Exchange[] = []

  constructor(private readonly baseUrl: string) {}

  /** Without an access token, or with one that is given. */
  client(accessToken?: string): TestClient {
    const { exchanges } = this
    return new (class extends TestClient {
      override async request(method: string, path: string, body?: unknown, options?: RequestOptions): Promise<Answer> {
        const answer = await super.request(method, path, body, options)
        exchanges.push({ method, path, answer })
        return answer
      }
    })(this.baseUrl, accessToken)
  }

  /** A user with a name of their own who has just registered. */
  async user(name: string): Promise<TestUser> {
    const username = `${name}-${randomBytes(4).toString('hex')}`
    return this.loggedIn(
      await this.client().post(`${v3}/register`, { username, password, auth: { type: 'm.login.dummy' } }),
    )
  }

  /** Whom an answer of `/register` or `/login` is about. */
  loggedIn({ status, body }: Answer): TestUser {
    if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`)
    const client = this.client(body.access_token)
    const user = new TestUser(this.baseUrl, body.access_token, body.user_id, body.device_id)
    user.request = (...given) => client.request(...given)
    return user
  }
}

export const password = 'secret password'

export const inRoom = (roomId: string, rest = '') => `${v3}/rooms/${encodeURIComponent(roomId)}${rest}`
export const ofUser = ({ userId }: TestUser, rest = '') => `${v3}/user/${encodeURIComponent(userId)}${rest}`
