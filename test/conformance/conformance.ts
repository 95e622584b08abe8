import type { Endpoint } from '../../src/http/endpoint.js'
import { Router } from '../../src/http/router.js'
import { isObject, type Json, type JsonObject } from '../../src/protocol/json.js'
import type { Answer } from '../support/http.js'
import type { Schema, Specification } from './specification.js'

export interface Exchange {
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly answer: Answer
  /** Of the room whose PDUs are in the answer. */
  readonly version?: string
}

/** A fault we answer with on purpose, because the specification's files are wrong or leave no way out. */
export interface Exception {
  /** Or `any`. */
  readonly operationId: string
  readonly fault: RegExp
  readonly reason: string
}

/** The prose has these keys of errors, and the schemas lack them. */
const inProse = /^\/(soft_logout|errcode|error) is not in the specification$/

/** What in the answers is not as the specification says, each once, in words that name operation and place. */
export class Conformance {
  private readonly router: Router<never>

  constructor(
    private readonly specification: Specification,
    private readonly exceptions: readonly Exception[],
    routes: readonly Endpoint<never>[],
  ) {
    this.router = new Router(routes)
  }

  /** The operation of an exchange; undefined where there is no such endpoint. */
  operationOf({ method, path }: Exchange): string | undefined {
    try {
      return this.router.find(method, path.split('?')[0]!).endpoint.operationId
    } catch {
      // A refusal: that there is no such path, or not with this method, is what some requests are about.
      return undefined
    }
  }

  faultsOf(exchanges: readonly Exchange[]): string[] {
    return [...new Set(exchanges.flatMap((exchange) => this.#faultsOfOne(exchange)))]
  }

  #faultsOfOne(exchange: Exchange): string[] {
    const { answer, version } = exchange
    const { status, body, headers } = answer
    const operationId = this.operationOf(exchange) ?? 'no endpoint'
    const isExpected = (fault: string) =>
      this.exceptions.some(
        (one) => (one.operationId === 'any' || one.operationId === operationId) && one.fault.test(fault),
      )
    const isJson = headers.get('content-type') === 'application/json'
    const faults = isJson
      ? [...this.#bodyFaults(operationId, answer), ...this.#eventFaults(body, version)]
      : ['is not application/json']
    return faults.filter((fault) => !isExpected(fault)).map((fault) => `${operationId} ${status}: ${fault}`)
  }

  #bodyFaults(operationId: string, { status, body }: Answer): string[] {
    const operation = this.specification.operations.get(operationId)
    const declared = operation?.responses.get(status)
    if (status >= 400) return this.#errorFaults(status, body, declared)
    if (declared === undefined) return ['is no answer that the specification knows']
    return this.specification.faults(declared, body)
  }

  /**
   * Every request may fail in ways its operation does not list. A 401 with an errcode alone is about the access token,
   * where the operation lists one about its authentication in stages.
   */
  #errorFaults(status: number, body: JsonObject, declared: Schema | undefined): string[] {
    const usual = status === 429 ? this.specification.rateLimited : this.specification.error
    const isStaged = Object.hasOwn(body, 'flows')
    const schema = declared !== undefined && (status !== 401 || isStaged) ? declared : usual
    const faults = this.specification.faults(schema, body).filter((fault) => !inProse.test(fault))
    const isExplained = isStaged || (typeof body.errcode === 'string' && typeof body.error === 'string')
    return isExplained ? faults : [...faults, 'has no errcode, or no error to read']
  }

  /**
   * Of all events in the answer, wherever they stand in it, and whether they are PDUs as they should be. Redacted ones
   * have lost what their types require.
   */
  #eventFaults(value: Json, version: string | undefined): string[] {
    if (Array.isArray(value)) return value.flatMap((item) => this.#eventFaults(item as Json, version))
    if (!isObject(value)) return []
    const isEvent = typeof value.type === 'string' && isObject(value.content)
    const isRedacted = isObject(value.unsigned) && Object.hasOwn(value.unsigned, 'redacted_because')
    const own = isEvent && !isRedacted ? this.specification.eventFaults(value) : []
    const asPdu = version !== undefined && isEvent && Object.hasOwn(value, 'hashes')
    const ofPdu = asPdu
      ? this.specification.pduFaults(version, value).map((fault) => `PDU of type ${String(value.type)}: ${fault}`)
      : []
    const within = Object.values(value).flatMap((item) => this.#eventFaults(item as Json, version))
    return [...own, ...ofPdu, ...within]
  }
}
