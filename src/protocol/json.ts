/** The values JSON has. Objects may hold any own key, `__proto__` included: never look up peers' keys through a prototype. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject | ExactNumber
export interface JsonObject {
  readonly [key: string]: Json | undefined
}

/**
 * A number that a JavaScript number cannot hold as it was written: a float without a fraction, such as `1.0` or `1e5`, an
 * integer beyond ±(2^53 - 1), or `-0`. Room versions 1 to 5 allow them, and hashes and signatures depend on how they are
 * written. Only `parseExactJson` makes them, so only events of peers hold them.
 */
export class ExactNumber {
  constructor(
    /** As Python, and so every hash and signature of such an event, writes it. */
    readonly text: string,
  ) {}

  /** The nearest double. Infinity for an integer of more than 308 digits. */
  get value(): number {
    return Number(this.text)
  }

  /** For who is content with the nearest double. `canonicalJson` writes the text. */
  toJSON(): number {
    return this.value
  }
}

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof ExactNumber)

/** The nearest double of a number, however it was written; undefined for anything else. */
export const numberOf = (value: Json | undefined): number | undefined =>
  typeof value === 'number' ? value : value instanceof ExactNumber ? value.value : undefined

/** An own value of an object, never one inherited from a prototype. */
export const own = (object: JsonObject, key: string): Json | undefined =>
  Object.hasOwn(object, key) ? object[key] : undefined

/** An own value that is a string, or undefined. */
export const ownString = (object: JsonObject, key: string): string | undefined => {
  const value = own(object, key)
  return typeof value === 'string' ? value : undefined
}
