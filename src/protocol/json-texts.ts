import { JsonError, MAX_EVENT_JSON_DEPTH } from './strict-json.js'

/**
 * Cuts the parts of a JSON text out as they stand there: the PDUs of a transaction or of an answer. How a number was
 * written, and which keys there are twice, is part of an event and lost when a text is parsed and written again.
 *
 * What is not JSON is refused as a whole, exactly where `JSON.parse` refuses it. What is JSON and yet no event (a key
 * twice, half a surrogate pair) is not looked for: it is found when the part is parsed, and so fails alone.
 */

/** The members of the object that the text is, by key; no two may have the same key. Throws `JsonError`. */
export function memberTexts(text: string): ReadonlyMap<string, string> {
  const members = new Map<string, string>()
  for (const part of cut(text, { members: 'all' })) members.set(part.key, part.text)
  return members
}

/** The elements of the array that the text is. Throws `JsonError`. */
export const elementTexts = (text: string): string[] => cut(text, 'elements').map((part) => part.text)

function cut(text: string, wanted: Wanted): JsonPart[] {
  const cutter = new JsonCutter(wanted, Infinity)
  const parts = cutter.push(text)
  cutter.end()
  return parts
}

/** Of one part, in UTF-16 units: an event of 64 KiB in which every character is escaped has 384 KiB. */
const MAX_PART_LENGTH = 1024 * 1024

/**
 * What is wanted of an object that comes in chunks: of some keys each element of an array, of others the whole value.
 * Members that are named nowhere are passed over and take no memory.
 */
export interface WantedParts {
  /** A member of this name that is not an array is refused with a `JsonError`. */
  readonly elements?: readonly string[]
  readonly members?: readonly string[] | 'all'
}

/** `elements`: each element of an array that is the whole text. */
type Wanted = WantedParts | 'elements'

export interface JsonPart {
  /** Of the member of the outermost object; of each of its elements when those are wanted. */
  readonly key: string
  readonly text: string
}

/**
 * The same for a text that comes in chunks and may be larger than memory, such as the answer of a join: what is held is
 * one part at a time. `push` returns the parts that a chunk completes, in their order; `end` throws when the text is not.
 */
export const partsOf = (wanted: WantedParts, maxPartLength = MAX_PART_LENGTH): JsonCutter =>
  new JsonCutter(wanted, maxPartLength)

/** An element of a member's array is at depth 2, and may itself be as deep as an event. */
const MAX_DEPTH = MAX_EVENT_JSON_DEPTH + 2

/** What may come next. The order matters: from `string` on, a value or a key has begun and is not complete. */
enum Next {
  value,
  valueOrEnd,
  key,
  keyOrEnd,
  colon,
  commaOrEnd,
  string,
  escape,
  hex,
  literal,
  // Of numbers: what was read last.
  minus,
  zero,
  integer,
  point,
  fraction,
  exponent,
  exponentSign,
  exponentDigits,
}

const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
const SPACE = 0x20
const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30
const ONE = 0x31
const NINE = 0x39
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/** What may stand after a backslash, without `u`. */
const simpleEscapes = new Set(Array.from('"\\/bfnrt', (character) => character.charCodeAt(0)))
const literals = new Map(['true', 'false', 'null'].map((word) => [word.charCodeAt(0), word]))

export class JsonCutter {
  readonly #elements: readonly string[]
  readonly #members: readonly string[] | 'all'
  readonly #wholeArray: boolean
  readonly #maxLength: number

  #next = Next.value
  /** Of the brackets that are open, whether each is an object's. */
  readonly #inObject = new Uint8Array(MAX_DEPTH + 1)
  #depth = 0
  #literal = ''
  /** Of a literal, the characters read; of `\u`, the hexadecimal digits. */
  #read = 0
  /** The string being read is the key of a member. */
  #isKey = false

  /** The depth at which values are cut out; 0 while none are. */
  #cutDepth = 0
  #key = ''
  readonly #seen = new Set<string>()
  readonly #parts: JsonPart[] = []

  #chunk = ''
  /** Where what is being cut out begins in the chunk; -1 while nothing is. */
  #from = -1
  /** What earlier chunks held of it. */
  #held = ''

  constructor(wanted: Wanted, maxPartLength: number) {
    this.#wholeArray = wanted === 'elements'
    this.#elements = wanted === 'elements' ? [] : (wanted.elements ?? [])
    this.#members = wanted === 'elements' ? [] : (wanted.members ?? [])
    this.#maxLength = maxPartLength
  }

  /** Throws `JsonError`, after which nothing may be pushed. */
  push(chunk: string): JsonPart[] {
    this.#chunk = chunk
    let at = 0
    while (at < chunk.length) at = this.#step(at)
    this.#holdOpenPart()
    return this.#parts.splice(0)
  }

  /** Whether a wanted member of this name has begun: an array without elements yields no part. */
  has(key: string): boolean {
    return this.#seen.has(key)
  }

  /** The text is complete. Throws `JsonError` when it is not one. */
  end(): void {
    if (this.#depth !== 0 || this.#next !== Next.commaOrEnd) throw new JsonError('syntax')
  }

  /** Reads on at `at`, and returns how far. */
  #step(at: number): number {
    const code = this.#chunk.charCodeAt(at)
    switch (this.#next) {
      case Next.string:
        return this.#insideString(at)
      case Next.escape:
        return this.#afterBackslash(code, at)
      case Next.hex:
        return this.#insideHex(code, at)
      case Next.literal:
        return this.#insideLiteral(code, at)
      case Next.minus:
      case Next.zero:
      case Next.integer:
      case Next.point:
      case Next.fraction:
      case Next.exponent:
      case Next.exponentSign:
      case Next.exponentDigits:
        return this.#insideNumber(code, at)
      default:
        return this.#between(code, at)
    }
  }

  /** Where a string, a number or a literal is not under way. */
  #between(code: number, at: number): number {
    if (code === SPACE || code === LF || code === CR || code === TAB) return at + 1
    switch (this.#next) {
      case Next.colon:
        if (code !== COLON) throw new JsonError('syntax')
        this.#next = Next.value
        return at + 1
      case Next.commaOrEnd:
        return this.#afterValue(code, at)
      case Next.keyOrEnd:
        if (code === CLOSE_OBJECT) return this.#close(true, at)
        return this.#beginKey(code, at)
      case Next.key:
        return this.#beginKey(code, at)
      case Next.valueOrEnd:
        if (code === CLOSE_ARRAY) return this.#close(false, at)
        return this.#beginValue(code, at)
      default:
        return this.#beginValue(code, at)
    }
  }

  #afterValue(code: number, at: number): number {
    const inObject = this.#inObject[this.#depth] === 1
    if (code === COMMA && this.#depth > 0) {
      this.#next = inObject ? Next.key : Next.value
      return at + 1
    }
    if (code === CLOSE_OBJECT || code === CLOSE_ARRAY) return this.#close(code === CLOSE_OBJECT, at)
    throw new JsonError('syntax')
  }

  #beginKey(code: number, at: number): number {
    if (code !== QUOTE) throw new JsonError('syntax')
    this.#isKey = true
    this.#next = Next.string
    if (this.#depth === 1) this.#from = at
    return at + 1
  }

  #beginValue(code: number, at: number): number {
    if (this.#depth === 0) this.#beginOutermost(code)
    else if (this.#depth === 1 && this.#cutDepth === 2) expect(OPEN_ARRAY, code)
    if (this.#depth === this.#cutDepth && this.#depth > 0) this.#from = at

    if (code === OPEN_OBJECT || code === OPEN_ARRAY) return this.#open(code === OPEN_OBJECT, at)
    this.#next = this.#firstOf(code)
    return at + 1
  }

  #firstOf(code: number): Next {
    if (code === QUOTE) {
      this.#isKey = false
      return Next.string
    }
    if (code === MINUS) return Next.minus
    if (code === ZERO) return Next.zero
    if (code >= ONE && code <= NINE) return Next.integer
    const literal = literals.get(code)
    if (literal === undefined) throw new JsonError('syntax')
    this.#literal = literal
    this.#read = 1
    return Next.literal
  }

  #beginOutermost(code: number): void {
    expect(this.#wholeArray ? OPEN_ARRAY : OPEN_OBJECT, code)
    if (this.#wholeArray) this.#cutDepth = 1
  }

  #open(isObject: boolean, at: number): number {
    if (++this.#depth > MAX_DEPTH) throw new JsonError('too-deep')
    this.#inObject[this.#depth] = isObject ? 1 : 0
    this.#next = isObject ? Next.keyOrEnd : Next.valueOrEnd
    return at + 1
  }

  #close(isObject: boolean, at: number): number {
    if (this.#depth === 0 || (this.#inObject[this.#depth] === 1) !== isObject) throw new JsonError('syntax')
    this.#depth--
    return this.#endValue(at + 1)
  }

  /** `end` is the index after the value. */
  #endValue(end: number): number {
    this.#next = Next.commaOrEnd
    if (this.#from !== -1 && this.#depth === this.#cutDepth) this.#parts.push({ key: this.#key, text: this.#take(end) })
    return end
  }

  #endString(end: number): number {
    if (!this.#isKey) return this.#endValue(end)
    this.#next = Next.colon
    if (this.#depth === 1) this.#beginMember(JSON.parse(this.#take(end)) as string)
    return end
  }

  /** Only of wanted members is it seen whether they come twice. */
  #beginMember(key: string): void {
    const elements = this.#elements.includes(key)
    this.#cutDepth = elements ? 2 : this.#members === 'all' || this.#members.includes(key) ? 1 : 0
    this.#key = key
    if (this.#cutDepth === 0) return
    if (this.#seen.has(key)) throw new JsonError('duplicate-key')
    this.#seen.add(key)
  }

  /** What has been cut out up to `end`. */
  #take(end: number): string {
    const text = this.#held + this.#chunk.slice(this.#from, end)
    this.#held = ''
    this.#from = -1
    this.#checkLength(text)
    return text
  }

  #holdOpenPart(): void {
    if (this.#from !== -1) {
      this.#held += this.#chunk.slice(this.#from)
      this.#from = 0
      this.#checkLength(this.#held)
    }
    this.#chunk = ''
  }

  #checkLength(text: string): void {
    if (text.length > this.#maxLength) throw new JsonError('too-large')
  }

  #insideString(at: number): number {
    const end = endOfPlain(this.#chunk, at)
    if (end === this.#chunk.length) return end
    const code = this.#chunk.charCodeAt(end)
    if (code === QUOTE) return this.#endString(end + 1)
    if (code !== BACKSLASH) throw new JsonError('syntax')
    this.#next = Next.escape
    return end + 1
  }

  #afterBackslash(code: number, at: number): number {
    if (code === 0x75) {
      this.#next = Next.hex
      this.#read = 0
    } else if (simpleEscapes.has(code)) this.#next = Next.string
    else throw new JsonError('syntax')
    return at + 1
  }

  #insideHex(code: number, at: number): number {
    if (!isHexDigit(code)) throw new JsonError('syntax')
    if (++this.#read === 4) this.#next = Next.string
    return at + 1
  }

  #insideLiteral(code: number, at: number): number {
    if (code !== this.#literal.charCodeAt(this.#read)) throw new JsonError('syntax')
    return ++this.#read === this.#literal.length ? this.#endValue(at + 1) : at + 1
  }

  /** What ends a number belongs to what follows it. */
  #insideNumber(code: number, at: number): number {
    const next = afterNumber(this.#next, code)
    if (next !== undefined) {
      this.#next = next
      return at + 1
    }
    if (!isCompleteNumber(this.#next)) throw new JsonError('syntax')
    return this.#endValue(at)
  }
}

/** Undefined when a number that is so far cannot go on with this character. */
function afterNumber(last: Next, code: number): Next | undefined {
  const isDigit = code >= ZERO && code <= NINE
  switch (last) {
    case Next.minus:
      return isDigit ? (code === ZERO ? Next.zero : Next.integer) : undefined
    case Next.integer:
      if (isDigit) return Next.integer
      return pointOrExponent(code)
    case Next.zero:
      return pointOrExponent(code)
    case Next.point:
      return isDigit ? Next.fraction : undefined
    case Next.fraction:
      return isDigit ? Next.fraction : isExponent(code) ? Next.exponent : undefined
    case Next.exponent:
      if (code === PLUS || code === MINUS) return Next.exponentSign
      return isDigit ? Next.exponentDigits : undefined
    default:
      return isDigit ? Next.exponentDigits : undefined
  }
}

const pointOrExponent = (code: number): Next | undefined =>
  code === POINT ? Next.point : isExponent(code) ? Next.exponent : undefined

const isExponent = (code: number): boolean => code === 0x65 || code === 0x45

const isCompleteNumber = (last: Next): boolean =>
  last === Next.zero || last === Next.integer || last === Next.fraction || last === Next.exponentDigits

const isHexDigit = (code: number): boolean =>
  (code >= ZERO && code <= NINE) || (code >= 0x41 && code <= 0x46) || (code >= 0x61 && code <= 0x66)

/** Another value may be JSON all the same; what matters is that it is not what was asked for. */
function expect(bracket: number, code: number): void {
  if (code !== bracket) throw new JsonError(mayBeginValue(code) ? 'wrong-type' : 'syntax')
}

const mayBeginValue = (code: number): boolean =>
  code === QUOTE ||
  code === MINUS ||
  (code >= ZERO && code <= NINE) ||
  code === OPEN_OBJECT ||
  code === OPEN_ARRAY ||
  literals.has(code)

/** The index of the first quote, backslash or control character from `at` on, or the end. */
function endOfPlain(text: string, at: number): number {
  special.lastIndex = at
  return special.test(text) ? special.lastIndex - 1 : text.length
}

// eslint-disable-next-line no-control-regex
const special = /["\\\u0000-\u001f]/g
