/// <reference lib="es2024.string" />
import { ExactNumber, type Json } from './json.js'

/**
 * The door through which JSON of clients and peers enters. `JSON.parse` alone hides what Matrix must know: `1.0` becomes
 * `1`, integers beyond 2^53 lose digits, of two equal keys the last wins, and lone surrogates pass. All of it is decided
 * here, once, with the source text at hand.
 */

/**
 * How deep arrays and objects of a client may be nested; the outermost is 1. The specification sets no limit. This one
 * keeps every recursive function over a parsed value far from the end of the stack.
 */
export const MAX_JSON_DEPTH = 100

/**
 * The same of an event. Refusing what others accept splits a room, so it is where they stop as well: Python, and so
 * Synapse, reads and writes somewhat less than this.
 */
export const MAX_EVENT_JSON_DEPTH = 1000

export type JsonErrorKind = 'syntax' | 'duplicate-key' | 'lone-surrogate' | 'too-deep' | 'too-large' | 'wrong-type'

const messages: Record<JsonErrorKind, string> = {
  syntax: 'Not valid JSON',
  'duplicate-key': 'An object has the same key twice',
  'lone-surrogate': 'A string holds half of a surrogate pair',
  'too-deep': 'Nested too deeply',
  'too-large': 'A part of it is too large',
  'wrong-type': 'An object or an array is expected where there is something else',
}

/** The message is fit for a client: it quotes nothing of the text, which may hold a password. */
export class JsonError extends Error {
  override readonly name = 'JsonError'
  constructor(
    readonly kind: JsonErrorKind,
    options?: ErrorOptions,
  ) {
    super(messages[kind], options)
  }
}

export interface ParsedJson {
  /** As `JSON.parse` gives it; an own `__proto__` key is kept as one. */
  readonly value: Json
  /**
   * The first number, as written, that canonical JSON could not have written: `1.0`, `1e3`, `-0`, or an integer beyond
   * ±(2^53 - 1). Undefined when there is none. Room versions from 6 on refuse such an event.
   */
  readonly nonCanonicalNumber?: string
}

/** Throws `JsonError`. */
export function parseJson(text: string): ParsedJson {
  const { keys, depth, nonCanonicalNumber } = scan(text)
  return { value: checked(text, keys, depth, MAX_JSON_DEPTH), nonCanonicalNumber }
}

/**
 * As `parseJson`, for what peers send and for the texts of events. It may be nested deeper, and numbers that `JSON.parse`
 * would alter are `ExactNumber`s, so that the value has the canonical form its sender hashed. Where there are none, and so
 * in nearly all events, it is as fast. Throws `JsonError`.
 */
export function parseExactJson(text: string): Json {
  const altered: AlteredNumber[] = []
  const { keys, depth } = scan(text, altered)
  const value = checked(text, keys, depth, MAX_EVENT_JSON_DEPTH)
  return altered.length === 0 ? value : withExactNumbers(text, altered)
}

function checked(text: string, keys: number, depth: number, maxDepth: number): Json {
  if (depth > maxDepth) throw new JsonError('too-deep')

  const value = parse(text)
  // Equal keys collapse in the value, however they were escaped, so a text with more keys than the value repeats one.
  if (countKeys(value) !== keys) throw new JsonError('duplicate-key')
  if (mayHoldLoneSurrogate(text) && !isWellFormed(value)) throw new JsonError('lone-surrogate')
  return value
}

function parse(text: string): Json {
  try {
    return JSON.parse(text) as Json
  } catch (cause) {
    throw new JsonError('syntax', { cause })
  }
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
const MINUS = 0x2d
const ZERO = 0x30
const NINE = 0x39

/** What only the source text shows. On a text that is not JSON the answer means nothing, but comes all the same. */
function scan(text: string, altered?: AlteredNumber[]): { keys: number; depth: number; nonCanonicalNumber?: string } {
  let keys = 0
  let depth = 0
  let deepest = 0
  let nonCanonicalNumber: string | undefined

  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at)
    if (code === QUOTE) {
      at = endOfString(text, at)
    } else if (code === COLON) {
      keys++
    } else if (code === 0x7b || code === 0x5b) {
      if (++depth > deepest) deepest = depth
    } else if (code === 0x7d || code === 0x5d) {
      depth--
    } else if (code === MINUS || (code >= ZERO && code <= NINE)) {
      const end = endOfNumber(text, at)
      if (!isCanonicalNumber(text, at, end)) {
        nonCanonicalNumber ??= text.slice(at, end)
        if (altered !== undefined) noteAltered(altered, text, at, end)
      }
      at = end - 1
    }
  }
  return { keys, depth: deepest, nonCanonicalNumber }
}

/** The index of the quote that closes the string opened at `start`, or the end of the text. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1)
  while (end !== -1 && isEscaped(text, end)) end = text.indexOf('"', end + 1)
  return end === -1 ? text.length : end
}

/** An odd number of backslashes stands before it. Never looks before the opening quote, which is no backslash. */
function isEscaped(text: string, at: number): boolean {
  let before = at - 1
  while (text.charCodeAt(before) === BACKSLASH) before--
  return (at - before) % 2 === 0
}

function endOfNumber(text: string, start: number): number {
  let end = start + 1
  while (end < text.length && isNumberCode(text.charCodeAt(end))) end++
  return end
}

/** Digits, and `+ - . E e`, which occur inside numbers only. */
const isNumberCode = (code: number): boolean =>
  (code >= ZERO && code <= NINE) || code === 0x2b || code === MINUS || code === 0x2e || code === 0x45 || code === 0x65

function isCanonicalNumber(text: string, start: number, end: number): boolean {
  const negative = text.charCodeAt(start) === MINUS
  const first = negative ? start + 1 : start
  for (let at = first; at < end; at++) {
    const code = text.charCodeAt(at)
    if (code < ZERO || code > NINE) return false
  }
  if (negative && text.charCodeAt(first) === ZERO) return false
  // Fifteen digits are always below 2^53.
  return end - first <= 15 || Number.isSafeInteger(Number(text.slice(start, end)))
}

/** A place in the text and the number that stands there, as Python writes it. */
interface AlteredNumber {
  readonly start: number
  readonly end: number
  readonly number: ExactNumber
}

function noteAltered(altered: AlteredNumber[], text: string, start: number, end: number): void {
  const number = exactNumber(text.slice(start, end))
  if (number !== undefined) altered.push({ start, end, number })
}

/** Python 3.11 and later, and so Synapse, reads no integer of more digits. */
const MAX_DIGITS = 4300

/** Undefined when a JavaScript number is as good: it has a fraction, or it overflows, which no hash was ever made of. */
function exactNumber(source: string): ExactNumber | undefined {
  if (!/[.eE]/.test(source)) return source.length > MAX_DIGITS ? undefined : new ExactNumber(source)
  const value = Number(source)
  return Number.isInteger(value) ? new ExactNumber(pythonFloat(value)) : undefined
}

/** A float without a fraction, as Python's `repr`. JavaScript too writes the shortest digits that give the same double. */
function pythonFloat(value: number): string {
  if (Math.abs(value) >= 1e16) return value.toExponential()
  return `${Object.is(value, -0) ? '-0' : value}.0`
}

/**
 * `JSON.parse` of Node 20 does not show the text of a number, so each altered one is read as a string that nothing else can
 * be: it begins with half a surrogate pair, and a text with such strings has been refused. The reviver, unlike an
 * assignment, can replace the value of a key named `__proto__`.
 */
function withExactNumbers(text: string, altered: readonly AlteredNumber[]): Json {
  let marked = ''
  let from = 0
  altered.forEach(({ start, end }, index) => {
    marked += `${text.slice(from, start)}"\\ud800${index}"`
    from = end
  })
  return JSON.parse(marked + text.slice(from), (_key, value: Json) =>
    typeof value === 'string' && value.startsWith('\ud800') ? altered[Number(value.slice(1))]!.number : value,
  ) as Json
}

function countKeys(value: Json | undefined): number {
  if (typeof value !== 'object' || value === null) return 0
  let count = 0
  if (Array.isArray(value)) {
    for (const item of value as readonly Json[]) count += countKeys(item)
    return count
  }
  for (const item of Object.values(value)) count += 1 + countKeys(item)
  return count
}

/** Cheap and never wrong when it says no. Text that was decoded from UTF-8 can have lone surrogates as escapes only. */
const mayHoldLoneSurrogate = (text: string): boolean => /\\u[dD]/.test(text) || !text.isWellFormed()

function isWellFormed(value: Json | undefined): boolean {
  if (typeof value === 'string') return value.isWellFormed()
  if (typeof value !== 'object' || value === null) return true
  if (Array.isArray(value)) return value.every(isWellFormed)
  return Object.entries(value).every(([key, item]) => key.isWellFormed() && isWellFormed(item))
}
