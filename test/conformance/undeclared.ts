import type { Schema } from './specification.js'

/**
 * Paths of the keys in a value that no schema speaks of. The specification's schemas are open, so that a key with a
 * misspelt name passes them; a server that answers such a key answers without the one it meant.
 *
 * Where nothing is said about the keys of an object (`content: {type: object}`), or about keys of any name
 * (`additionalProperties`), all may be there.
 */
export function undeclaredKeys(schema: Schema, value: unknown, at = ''): string[] {
  return undeclaredBy(flat(schema), value, at)
}

function undeclaredBy(schemas: readonly ObjectSchema[], value: unknown, at: string): string[] {
  if (Array.isArray(value)) {
    const items = schemas.flatMap(({ items }) => flat(items))
    return value.flatMap((item, index) => undeclaredBy(items, item, `${at}/${index}`))
  }
  if (typeof value !== 'object' || value === null || !schemas.some(namesKeys)) return []
  return Object.entries(value).flatMap(([key, inner]) => {
    const found = schemas.map((schema) => schemasOf(schema, key)).filter((one) => one !== undefined)
    return found.length === 0 ? [`${at}/${key}`] : undeclaredBy(found.flat(), inner, `${at}/${key}`)
  })
}

type ObjectSchema = Exclude<Schema, boolean>

const namesKeys = ({ properties, patternProperties, additionalProperties }: ObjectSchema): boolean =>
  properties !== undefined || patternProperties !== undefined || typeof additionalProperties === 'object'

/** What a schema says of a key; undefined if nothing. */
function schemasOf(schema: ObjectSchema, key: string): ObjectSchema[] | undefined {
  const { properties = {}, patternProperties = {}, additionalProperties = false } = schema
  const patterns = Object.entries<Schema>(patternProperties).filter(([pattern]) => new RegExp(pattern, 'u').test(key))
  const named = [...(Object.hasOwn(properties, key) ? [properties[key]] : []), ...patterns.map(([, inner]) => inner)]
  if (named.length > 0) return named.flatMap(flat)
  return additionalProperties === false ? undefined : flat(additionalProperties)
}

/** A schema and those it is composed of. */
function flat(schema: Schema | undefined): ObjectSchema[] {
  if (typeof schema !== 'object') return []
  const { allOf = [], anyOf = [], oneOf = [] } = schema
  return [schema, ...[...allOf, ...anyOf, ...oneOf].flatMap(flat)]
}
