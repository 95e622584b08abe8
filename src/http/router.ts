import FindMyWay, { type HTTPMethod } from 'find-my-way'
import { invalidParam, methodNotAllowed, unrecognized } from '../protocol/matrix-error.js'
import type { Endpoint } from './endpoint.js'

export interface Route<S> {
  readonly endpoint: Endpoint<S>
  readonly params: Readonly<Record<string, string>>
}

const methods = ['GET', 'POST', 'PUT', 'DELETE'] as const

/**
 * One trie of all paths. Paths are matched exactly: no case folding, no doubled or trailing slashes, because proxies and
 * rate limits in front of us must see the same endpoint as we do. Parameters are decoded after matching, so `%2F` may
 * stand in an id.
 */
export class Router<S> {
  readonly #trie = FindMyWay({ caseSensitive: true, maxParamLength: 64 * 1024, querystringParser: () => ({}) })

  constructor(endpoints: readonly Endpoint<S>[]) {
    for (const endpoint of endpoints) {
      for (const path of endpoint.paths) {
        this.#trie.on(endpoint.method.toUpperCase() as HTTPMethod, path, () => undefined, endpoint)
      }
    }
  }

  /** Throws 404 or 405 M_UNRECOGNIZED, or M_INVALID_PARAM when an escape in the path is not UTF-8. */
  find(method: string, path: string): Route<S> {
    const found = this.#lookUp(method, path)
    if (found === null) throw this.#refusal(path)

    const endpoint = found.store as Endpoint<S>
    const params: Record<string, string> = {}
    for (const name of endpoint.parameterNames) params[name] = found.params[name] ?? ''
    return { endpoint, params }
  }

  /** The `operationId` of who is asked; undefined where there is nobody. */
  operationOf(method: string, path: string): string | undefined {
    return (this.#lookUp(method, path)?.store as Endpoint<S> | undefined)?.operationId
  }

  #lookUp(method: string, path: string) {
    return this.#trie.find((method === 'HEAD' ? 'GET' : method) as HTTPMethod, path)
  }

  #refusal(path: string): Error {
    if (!isDecodable(path)) return invalidParam('The path has an escape that is not UTF-8')
    const allowed = methods.filter((method) => this.#trie.find(method, path) !== null)
    return allowed.length === 0 ? unrecognized() : methodNotAllowed(allowed)
  }
}

function isDecodable(path: string): boolean {
  try {
    decodeURIComponent(path)
    return true
  } catch {
    // The only thing it throws is what we ask for.
    return false
  }
}
