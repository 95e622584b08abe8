import { isObject, own, type Json, type JsonObject } from './json.js'

/**
 * The names on a dot-separated path; `\.` and `\\` stand for a dot and a backslash, other backslashes for themselves.
 * https://spec.matrix.org/v1.19/appendices/#dot-separated-property-paths
 */
export function propertyPath(key: string): string[] {
  const names = ['']
  for (const [part] of key.matchAll(/\\[.\\]|[^]/g)) {
    if (part === '.') names.push('')
    else names[names.length - 1] += part.length === 2 ? part[1]! : part
  }
  return names
}

/** The value at the end of a path through objects. */
export function propertyAt(object: JsonObject, path: readonly string[]): Json | undefined {
  let value: Json | undefined = object
  for (const name of path) value = isObject(value) ? own(value, name) : undefined
  return value
}
