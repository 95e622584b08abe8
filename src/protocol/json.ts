/** The values JSON has. Objects may hold any own key, `__proto__` included: never look up peers' keys through a prototype. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** An own value of an object, never one inherited from a prototype. */
export const own = (object: JsonObject, key: string): Json | undefined =>
  Object.hasOwn(object, key) ? object[key] : undefined

/** An own value that is a string, or undefined. */
export const ownString = (object: JsonObject, key: string): string | undefined => {
  const value = own(object, key)
  return typeof value === 'string' ? value : undefined
}
