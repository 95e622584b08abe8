/** A Matrix client as the tests need one: requests with a token, answers as status and parsed body. */

export interface Answer {
  readonly status: number
  // Tests look into answers of every shape.
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  readonly body: any
  readonly headers: Headers
}

export interface RequestOptions {
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export class TestClient {
  constructor(
    /** `http://127.0.0.1:1234`, without a slash at the end. */
    readonly baseUrl: string,
    public accessToken?: string,
  ) {}

  get = (path: string, options?: RequestOptions) => this.request('GET', path, undefined, options)
  post = (path: string, body: unknown = {}, options?: RequestOptions) => this.request('POST', path, body, options)
  put = (path: string, body: unknown = {}, options?: RequestOptions) => this.request('PUT', path, body, options)
  delete = (path: string, body?: unknown, options?: RequestOptions) => this.request('DELETE', path, body, options)

  /** A body that is text or bytes is sent as it is, anything else as JSON. */
  async request(method: string, path: string, body?: unknown, options: RequestOptions = {}): Promise<Answer> {
    const response = await fetch(this.baseUrl + path, {
      method,
      headers: { ...this.#authorization(), ...options.headers },
      body: typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body),
      signal: options.signal ?? null,
      redirect: 'manual',
    })
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: parsed(response, text) }
  }

  #authorization(): Record<string, string> {
    return this.accessToken === undefined ? {} : { Authorization: `Bearer ${this.accessToken}` }
  }
}

function parsed(response: Response, text: string): unknown {
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false
  return isJson && text !== '' ? JSON.parse(text) : text
}
