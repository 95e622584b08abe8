import { Readable } from 'node:stream'
import type { JsonObject } from '../../src/protocol/json.js'
import { RemoteError, Unreachable, type Remote, type RemoteRequest } from '../../src/federation/remote.js'

/** Other servers by a script, and what they were asked. Servers the script has no answer for (undefined) are not reached. */
export class ScriptedRemote implements Remote {
  readonly asked: { readonly server: string; readonly method: string; readonly path: string; content?: JsonObject }[] =
    []
  script: (server: string, request: RemoteRequest) => object | string | undefined | Promise<object | string> = () =>
    undefined

  async request(server: string, request: RemoteRequest): Promise<string> {
    const { method, path, content } = request
    this.asked.push({ server, method, path, ...(content && { content }) })
    const answer = await this.script(server, request)
    if (answer === undefined) throw new Unreachable(server, 'is not there')
    return typeof answer === 'string' ? answer : JSON.stringify(answer)
  }

  async stream(server: string, request: RemoteRequest): Promise<Readable> {
    return Readable.from([await this.request(server, request)])
  }

  unsigned = (server: string, request: RemoteRequest) => this.request(server, request)
}

export const remoteError = (server: string, status: number, errcode: string): RemoteError =>
  new RemoteError(server, status, errcode, 'said the other server', { errcode, error: 'said the other server' })
