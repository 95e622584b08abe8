/** What went wrong at a target: counted in all, kept once per kind. Any of it makes the run fail. */

import { ConnectionClosed } from './http/connection.js'
import type { Answer } from './http/response-parser.js'

const MAX_KINDS = 20
const MAX_SAMPLE_LENGTH = 300

export class ErrorLog {
  #kinds = new Map<string, number>()
  count = 0

  add(sample: string): void {
    this.count++
    const kind = sample.slice(0, MAX_SAMPLE_LENGTH)
    if (this.#kinds.has(kind) || this.#kinds.size < MAX_KINDS) this.#kinds.set(kind, (this.#kinds.get(kind) ?? 0) + 1)
  }

  addAnswer(request: string, answer: Answer): void {
    this.add(`${request}: ${describe(answer)}`)
  }

  /** Connections that the generator closed itself are no error. */
  addCause(request: string, cause: unknown): void {
    if (!(cause instanceof ConnectionClosed)) this.add(`${request}: ${cause instanceof Error ? cause.message : cause}`)
  }

  /** The most frequent first. */
  samples(): { sample: string; count: number }[] {
    return [...this.#kinds].map(([sample, count]) => ({ sample, count })).sort((a, b) => b.count - a.count)
  }
}

/** `403 M_FORBIDDEN …` of a Matrix error, the beginning of the body of anything else. */
export function describe({ status, body }: Answer): string {
  const text = body.toString('utf8', 0, 2000)
  try {
    const { errcode, error } = JSON.parse(text) as { errcode?: string; error?: string }
    if (errcode === 'M_LIMIT_EXCEEDED') return `${status} ${errcode}: switch the server's rate limits off for the bench`
    if (errcode !== undefined) return `${status} ${errcode} ${error ?? ''}`
  } catch {
    // not JSON: shown as it is
  }
  return `${status} ${text.slice(0, 200)}`
}
