/// <reference lib="es2024.string" />
import { ExactNumber, type Json, type JsonObject } from './json.js'
import { MAX_EVENT_JSON_DEPTH } from './strict-json.js'

/**
 * Canonical JSON: the one text that hashes and signatures are made of. The shortest encoding, keys in the order of their
 * code points, numbers as integers within ±(2^53 - 1). https://spec.matrix.org/v1.19/appendices/#canonical-json
 */

/** The value has no canonical form. The message says why and is fit for a client. */
export class CanonicalJsonError extends Error {
  override readonly name = 'CanonicalJsonError'
}

/**
 * `safe-integers` is the format as specified. `any` also writes what events of room versions 1–5 may hold: floats, and
 * integers beyond 2^53, as Python's `json.dumps` writes them, because that is what these events were hashed with. What
 * `parseExactJson` has read comes out as Synapse would write it; a JavaScript number without a fraction is an integer.
 */
export type CanonicalNumbers = 'safe-integers' | 'any'

/** Keys with the value `undefined` are left out. Throws `CanonicalJsonError`. */
export const canonicalJson = (value: Json, numbers: CanonicalNumbers = 'safe-integers'): string =>
  write(value, numbers, 1)

/** A member of an object in canonical form: `text` is `"key":value`. */
export interface CanonicalMember {
  readonly key: string
  readonly text: string
}

/**
 * The members of an object in canonical order, each written once. For who needs several texts of one object that differ
 * in a few members. Throws `CanonicalJsonError`.
 */
export function canonicalMembers(object: JsonObject, numbers: CanonicalNumbers = 'safe-integers'): CanonicalMember[] {
  const members: CanonicalMember[] = []
  for (const key of sortedKeys(object)) {
    const value = object[key]
    if (value !== undefined) members.push({ key, text: `${quote(key)}:${write(value, numbers, 2)}` })
  }
  return members
}

/** Puts one more member in its place among those of an object. Its key must not be among them. */
export function addMember(members: CanonicalMember[], member: CanonicalMember): void {
  const at = members.findIndex(({ key }) => compareCodePoints(key, member.key) > 0)
  if (at === -1) members.push(member)
  else members.splice(at, 0, member)
}

/** The canonical text of the object that has these members, which are in canonical order, but for one left out. */
export function joinMembers(members: readonly CanonicalMember[], leftOut?: string): string {
  let text = ''
  for (const member of members) {
    if (member.key !== leftOut) text += (text === '' ? '{' : ',') + member.text
  }
  return text === '' ? '{}' : text + '}'
}

/** The same in one piece, for a text that is kept: one that was added up stays in memory as the pieces it was made of. */
export function joinMembersForGood(members: readonly CanonicalMember[]): string {
  const pieces: string[] = []
  for (const { text } of members) pieces.push(pieces.length === 0 ? '{' : ',', text)
  pieces.push(pieces.length === 0 ? '{}' : '}')
  return pieces.join('')
}

/** The order of canonical JSON. `<` on strings compares UTF-16 units and puts U+1F600 before U+FF61. */
export function compareCodePoints(a: string, b: string): number {
  const shared = Math.min(a.length, b.length)
  for (let at = 0; at < shared; at++) {
    const x = a.charCodeAt(at)
    const y = b.charCodeAt(at)
    if (x !== y) return rank(x) - rank(y)
  }
  return a.length - b.length
}

/** A surrogate is half of a code point above U+FFFF, and so above every other unit. */
const rank = (unit: number): number => (isSurrogate(unit) ? unit + 0x10000 : unit)
const isSurrogate = (unit: number): boolean => unit >= 0xd800 && unit <= 0xdfff

function write(value: Json, numbers: CanonicalNumbers, depth: number): string {
  switch (typeof value) {
    case 'string':
      return quote(value)
    case 'number':
      return writeNumber(value, numbers)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      if (value === null) return 'null'
      if (value instanceof ExactNumber) return writeExact(value, numbers)
      if (depth > MAX_EVENT_JSON_DEPTH) throw new CanonicalJsonError('Nested too deeply')
      return Array.isArray(value) ? writeArray(value, numbers, depth) : writeObject(value as JsonObject, numbers, depth)
    default:
      throw new CanonicalJsonError(`JSON has no values of type ${typeof value}`)
  }
}

function writeArray(items: readonly Json[], numbers: CanonicalNumbers, depth: number): string {
  let text = '['
  for (let at = 0; at < items.length; at++) {
    if (at > 0) text += ','
    text += write(items[at]!, numbers, depth + 1)
  }
  return text + ']'
}

function writeObject(object: JsonObject, numbers: CanonicalNumbers, depth: number): string {
  let text = ''
  for (const key of sortedKeys(object)) {
    const value = object[key]
    if (value === undefined) continue
    text += text === '' ? '{' : ','
    text += quote(key) + ':' + write(value, numbers, depth + 1)
  }
  return text === '' ? '{}' : text + '}'
}

/** The engine's own sort compares UTF-16 units, is twice as fast, and right unless a key holds a surrogate. */
function sortedKeys(object: JsonObject): string[] {
  const keys = Object.keys(object)
  if (isSorted(keys)) return keys
  return isSorted(keys.sort()) ? keys : keys.sort(compareCodePoints)
}

function isSorted(keys: readonly string[]): boolean {
  for (let at = 1; at < keys.length; at++) {
    if (compareCodePoints(keys[at - 1]!, keys[at]!) > 0) return false
  }
  return true
}

/** What cannot stand in a JSON text as it is, and surrogates, of which pairs can and halves cannot. */
// eslint-disable-next-line no-control-regex
const needsCare = /["\\\u0000-\u001f\ud800-\udfff]/

/** `JSON.stringify` escapes exactly what canonical JSON escapes, but also lone surrogates, which it must not see. */
function quote(text: string): string {
  if (!needsCare.test(text)) return `"${text}"`
  if (!text.isWellFormed()) throw new CanonicalJsonError('A string holds half of a surrogate pair')
  return JSON.stringify(text)
}

function writeNumber(value: number, numbers: CanonicalNumbers): string {
  if (Number.isSafeInteger(value)) return value === 0 ? '0' : String(value)
  if (numbers === 'any' && Number.isFinite(value))
    return Number.isInteger(value) ? String(BigInt(value)) : writeFloat(value)
  throw new CanonicalJsonError(badNumber)
}

const badNumber = 'Numbers must be integers between -(2^53)+1 and (2^53)-1'

/** The integer `-0` is 0 in Python; the float `-0.0` keeps its sign. */
function writeExact({ text }: ExactNumber, numbers: CanonicalNumbers): string {
  if (numbers !== 'any') throw new CanonicalJsonError(badNumber)
  return text === '-0' ? '0' : text
}

/** Python writes an exponent below 1e-4, with two digits at least; JavaScript below 1e-6, with one. */
function writeFloat(value: number): string {
  if (Math.abs(value) >= 1e-4) return String(value)
  return value.toExponential().replace(/e-(\d)$/, 'e-0$1')
}
