import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import type { Static, TObject, TSchema } from 'typebox'
import type { JsonObject } from '../protocol/json.js'
import { badJson, invalidParam, missingParam, type MatrixError } from '../protocol/matrix-error.js'
import { formats } from './fields.js'

/**
 * Checks of what a request brings, by the schemas endpoints declare. Values are checked and never changed: no defaults,
 * no coercion, no removal of unknown keys. A schema is compiled when it is first used (the first one takes 60 ms, the
 * others a few), so that a start does not wait for two hundred of them.
 */
const ajv = new Ajv({
  strict: true,
  strictTypes: false,
  ownProperties: true,
  formats: Object.fromEntries(Object.entries(formats).map(([name, { matches }]) => [name, matches])),
})

export type Part = 'body' | 'query' | 'path'

export type Check<T extends TSchema> = (value: unknown) => Static<T>

/**
 * A function that gives the value back, typed, or throws: M_INVALID_PARAM for the path and the query, M_BAD_JSON for the
 * body. What is required and absent is M_MISSING_PARAM in the query, and in the body if `missingIsParam`.
 */
export function check<T extends TSchema>(part: Part, schema: T, missingIsParam = part === 'query'): Check<T> {
  let validate: ValidateFunction | undefined
  return (value) => {
    validate ??= ajv.compile(schema)
    if (validate(value)) return value as Static<T>
    throw refusal(part, validate.errors?.at(-1), missingIsParam)
  }
}

function refusal(part: Part, error: ErrorObject | undefined, missingIsParam: boolean): MatrixError {
  if (error === undefined) throw new Error('ajv refused without saying why')
  const message = sentence(part, error)
  if (error.keyword === 'required' && missingIsParam) return missingParam(message)
  return part === 'body' ? badJson(message) : invalidParam(message)
}

/** `body.user_id must be a string`. Names fields, quotes no values: they may be secrets. */
function sentence(part: Part, error: ErrorObject): string {
  const field = part + pathOf(error.instancePath)
  const params = error.params as Record<string, unknown>
  switch (error.keyword) {
    case 'required':
      return `${field}.${String(params['missingProperty'])} is required`
    case 'type':
      return `${field} must be ${typeName(params['type'])}`
    case 'format':
      return `${field} must be ${formats[String(params['format'])]?.name ?? 'of another form'}`
    case 'enum':
      return `${field} must be one of ${(params['allowedValues'] as unknown[]).join(', ')}`
    case 'anyOf':
      return `${field} has none of the values it may have`
    case 'pattern':
      return `${field} has characters that are not allowed there, or lacks one`
    default:
      return `${field} ${error.message ?? 'is not allowed'}`
  }
}

/** `/a/0/b~1c` as `.a[0].b/c`. Keys that clients chose may be long: they are cut. */
function pathOf(pointer: string): string {
  return pointer
    .split('/')
    .slice(1)
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~').slice(0, 100))
    .map((token) => (/^\d+$/.test(token) ? `[${token}]` : `.${token}`))
    .join('')
}

function typeName(type: unknown): string {
  if (Array.isArray(type)) return type.map(typeName).join(' or ')
  if (type === 'null') return 'null'
  return type === 'integer' || type === 'object' || type === 'array' ? `an ${type}` : `a ${String(type)}`
}

type QueryValue = string | number | boolean | string[]

/**
 * Turns a query string into the object a schema speaks of: integers and booleans where the schema says so, all values of
 * a list, the first value of anything else. Parameters the schema does not name are left out. What cannot be converted
 * stays text, for the check to refuse.
 */
export function queryReader(schema: TObject): (search: string) => Record<string, QueryValue> {
  const types = Object.entries(schema.properties).map(([name, property]) => [name, typeIn(property)] as const)
  return (search) => {
    const query: Record<string, QueryValue> = {}
    if (search === '') return query
    const given = new URLSearchParams(search)
    for (const [name, type] of types) {
      if (given.has(name)) query[name] = type === 'array' ? given.getAll(name) : convert(given.get(name) ?? '', type)
    }
    return query
  }
}

const typeIn = (property: TSchema): unknown => (property as JsonObject)['type']

function convert(text: string, type: unknown): QueryValue {
  if (type === 'integer' && /^-?\d{1,16}$/.test(text)) return Number(text)
  if (type === 'boolean' && (text === 'true' || text === 'false')) return text === 'true'
  return text
}
