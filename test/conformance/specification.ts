import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { parse } from 'yaml'
import type { Auth } from '../../src/http/endpoint.js'
import { undeclaredKeys } from './undeclared.js'

/**
 * An API as the specification's own OpenAPI 3.1 files describe it (`data/api` and `data/event-schemas` of matrix-spec).
 * They are no part of this repository: `SPEC_OPENAPI` names the folder that holds
 * `data`, otherwise it is looked for beside the repository.
 */
export function specificationFolder(): string | undefined {
  const folder = process.env.SPEC_OPENAPI ?? path.resolve(import.meta.dirname, '../../../shared/spec/openapi')
  return existsSync(path.join(folder, 'data/api')) ? folder : undefined
}

// Files of others: every shape is possible.
// eslint-disable-next-line @typescript-eslint/no-explicit-any
type Yaml = any

export type Schema = boolean | { readonly [keyword: string]: Yaml }

export interface Operation {
  readonly operationId: string
  readonly method: string
  /** As ours are written: `/_matrix/client/v3/rooms/:roomId/join`. */
  readonly path: string
  readonly auth: Auth
  /** By status: the schema of the JSON answered; undefined where the answer is something else, or nothing. */
  readonly responses: ReadonlyMap<number, Schema | undefined>
}

export class Specification {
  readonly operations: ReadonlyMap<string, Operation>
  readonly error: Schema
  readonly rateLimited: Schema
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true })
  readonly #compiled = new Map<Schema, ValidateFunction>()
  readonly #files = new Map<string, Yaml>()
  readonly #eventSchemas = new Map<string, Schema>()
  readonly #pduSchemas = new Map<number, Schema>()

  /** `additions`, by operation, hold for its answer with status 200 too. */
  constructor(
    folder: string,
    api: 'client-server' | 'server-server',
    private readonly additions: Readonly<Record<string, Schema>> = {},
  ) {
    const apis = path.join(folder, 'data/api', api)
    const errors = path.join(folder, 'data/api/client-server/definitions/errors')
    const operations = namesIn(apis).flatMap((name) => this.#operationsIn(path.join(apis, name)))
    this.operations = new Map(operations.map((operation) => [operation.operationId, operation]))
    this.error = this.#schemaFile(path.join(errors, 'error.yaml'))
    this.rateLimited = this.#schemaFile(path.join(errors, 'rate_limited.yaml'))
    const events = path.join(folder, 'data/event-schemas/schema')
    for (const name of namesIn(events)) {
      this.#eventSchemas.set(name.replace(/\.yaml$/, ''), this.#schemaFile(path.join(events, name)))
    }
    const pdus = path.join(folder, 'data/api/server-server/definitions')
    for (const name of namesIn(pdus)) {
      const [, since] = /^pdu_v(\d+)\.yaml$/.exec(name) ?? []
      if (since !== undefined) this.#pduSchemas.set(Number(since), this.#schemaFile(path.join(pdus, name)))
    }
  }

  /** What is wrong with a value, in words; keys that no schema names are wrong too. */
  faults(schema: Schema, value: unknown): string[] {
    return [...this.#broken(schema, value), ...undeclaredKeys(schema, value).map(notNamed)]
  }

  #broken(schema: Schema, value: unknown): string[] {
    let validate = this.#compiled.get(schema)
    if (validate === undefined) this.#compiled.set(schema, (validate = this.#ajv.compile(schema)))
    if (validate(value)) return []
    return validate.errors!.map(({ instancePath, message }) => `${instancePath} ${message}`)
  }

  /** Of an event, whichever of its formats it has, against the schema of its type. None for types that have no schema. */
  eventFaults(event: Readonly<Record<string, Yaml>>): string[] {
    const schema = this.#eventSchema(event)
    if (schema === undefined) return []
    const envelope = { event_id: '$', room_id: '!', sender: '@', origin_server_ts: 0 }
    const undeclared = undeclaredKeys(schema, { content: event.content }).map(notNamed)
    return [...this.#broken(schema, { ...envelope, ...event }), ...undeclared].map((fault) => `${event.type}: ${fault}`)
  }

  /** Of a PDU of a room of this version: each schema holds from its own version on until the next. */
  pduFaults(version: string, pdu: unknown): string[] {
    const since = Math.max(...[...this.#pduSchemas.keys()].filter((one) => one <= Number(version)))
    return this.faults(this.#pduSchemas.get(since)!, pdu)
  }

  #eventSchema({ type, content }: Readonly<Record<string, Yaml>>): Schema | undefined {
    const subtype = content.msgtype ?? content.method
    return this.#eventSchemas.get(`${type}$${subtype}`) ?? this.#eventSchemas.get(type)
  }

  #operationsIn(file: string): Operation[] {
    const document = this.#read(file)
    const base = document.servers[0].variables.basePath.default as string
    return Object.entries<Yaml>(document.paths).flatMap(([name, methods]) =>
      Object.entries<Yaml>(methods).map(([method, operation]) => ({
        operationId: operation.operationId,
        method,
        // Two paths end in a space, to be other keys than those of their twins.
        path: (base + name.trim()).replace(/\{(\w+)\}/g, ':$1'),
        auth: authOf(operation.security),
        responses: this.#responses(file, operation),
      })),
    )
  }

  #responses(file: string, { operationId, responses }: Yaml): Map<number, Schema | undefined> {
    const addition = this.additions[operationId]
    return new Map(
      Object.entries<Yaml>(this.#inline(file, responses, [])).map(([text, response]) => {
        const [status, schema] = [Number(text), response.content?.['application/json']?.schema]
        return [status, status === 200 && addition !== undefined ? { allOf: [schema, addition] } : schema]
      }),
    )
  }

  #schemaFile = (file: string): Schema => this.#inline(file, this.#read(file), [])

  #read(file: string): Yaml {
    let document = this.#files.get(file)
    if (document === undefined) this.#files.set(file, (document = parse(readFileSync(file, 'utf8'))))
    return document
  }

  /** A copy in which the targets of `$ref` stand in their places; where one contains itself, anything goes. */
  #inline(file: string, node: Yaml, within: readonly string[]): Yaml {
    if (Array.isArray(node)) return node.map((item) => this.#inline(file, item, within))
    if (typeof node !== 'object' || node === null) return node
    if (typeof node.$ref === 'string') return this.#target(file, node, within)
    const entries = Object.entries(node).filter(([key]) => !leftOut.has(key))
    return Object.fromEntries(entries.map(([key, value]) => [key, this.#inline(file, value, within)]))
  }

  #target(file: string, { $ref, ...beside }: Yaml, within: readonly string[]): Yaml {
    const [name = '', pointer = ''] = ($ref as string).split('#')
    const target = name === '' ? file : path.resolve(path.dirname(file), name)
    const id = `${target}#${pointer}`
    if (within.includes(id)) return {}
    const found = pointer
      .split('/')
      .slice(1)
      .reduce((node, key) => node[key], this.#read(target))
    const inlined = this.#inline(target, found, [...within, id])
    const rest = this.#inline(file, beside, within)
    return Object.keys(rest).length === 0 ? inlined : { ...rest, allOf: [...(rest.allOf ?? []), inlined] }
  }
}

const notNamed = (key: string): string => `${key} is not in the specification`

/** Examples hold `$ref`s that are not of their schema, and nothing that constrains. */
const leftOut = new Set(['example', 'examples', '$schema'])

const namesIn = (folder: string): string[] => readdirSync(folder).filter((name) => name.endsWith('.yaml'))

function authOf(security: readonly object[] = []): Auth {
  if (security.length === 0) return 'none'
  if (security.some((scheme) => Object.hasOwn(scheme, 'signedRequest'))) return 'signed-request'
  return security.some((scheme) => Object.keys(scheme).length === 0) ? 'optional' : 'access-token'
}
