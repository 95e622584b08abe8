/**
 * Glob patterns as Matrix has them: `*` is any number of characters, `?` exactly one, the case of letters does not
 * matter. https://spec.matrix.org/v1.19/appendices/#glob-style-matching
 *
 * Patterns and texts come from strangers, so nothing backtracks (CVE-2021-29471). A `*` lets go of what is before it: the
 * stretches between them are found one after the other, each at the first place after the one before. A stretch without
 * `?` is found with the Knuth-Morris-Pratt algorithm; one with `?` by keeping, as bits, how much of it each earlier place
 * has matched so far. The first is linear, the second takes text × stretch / 32 steps, and is bounded by
 * {@link MAX_WILD_STRETCH}.
 */
export class Glob {
  readonly #pattern: string
  /** Without `*` and `?`, the pattern is a text to compare with. */
  readonly #literal: boolean
  #stretches: readonly Stretch[] | undefined

  /** With `literal`, `*` and `?` are characters as any other. */
  constructor(pattern: string, { literal }: { literal: boolean } = { literal: false }) {
    this.#pattern = fold(pattern)
    this.#literal = literal || !/[*?]/.test(pattern)
  }

  /** Whether the pattern matches the whole text. */
  matches(text: string): boolean {
    const folded = fold(text)
    return this.#literal ? folded === this.#pattern : matchesWhole(this.#compiled, codesOf(folded))
  }

  /**
   * Whether the pattern matches a part of the text that starts and ends at a word boundary: the start or end of the text,
   * or any character but `A`-`Z`, `a`-`z`, `0`-`9` and `_`. That character may belong to the part or stand beside it.
   */
  matchesWords(text: string): boolean {
    const folded = fold(text)
    if (this.#literal && this.#pattern.length <= SHORT) return includesWords(folded, this.#pattern)
    return matchesPart(this.#compiled, codesOf(folded))
  }

  get #compiled(): readonly Stretch[] {
    return (this.#stretches ??= this.#literal
      ? [new Stretch(this.#pattern, false)]
      : this.#pattern.split('*').map((stretch) => new Stretch(stretch, stretch.includes('?'))))
  }
}

/**
 * A longer stretch that has `?` and may begin anywhere matches nothing: its search in a text of 64 KB would take more than
 * some milliseconds, which nobody's keyword is worth.
 */
export const MAX_WILD_STRETCH = 512

/** Up to here it is faster, and harmless, to compare a literal (or a stretch with `?`) at every place at which it could begin. */
const SHORT = 64
const SHORT_WILD = 8

const fold = (text: string): string => text.toLowerCase()

/** Code points: `?` stands for a whole character, also for one that is two units of a JavaScript string. */
function codesOf(text: string): number[] {
  const codes: number[] = []
  for (let i = 0; i < text.length; i++) {
    const code = text.codePointAt(i)!
    codes.push(code)
    if (code > 0xffff) i++
  }
  return codes
}

/** Of the code of a folded character. */
const isWord = (code: number): boolean =>
  (code >= 0x61 && code <= 0x7a) || (code >= 0x30 && code <= 0x39) || code === 0x5f

const isBoundary = (before: number | undefined, after: number | undefined): boolean =>
  before === undefined || after === undefined || !isWord(before) || !isWord(after)

function includesWords(text: string, literal: string): boolean {
  const boundary = (at: number) =>
    at === 0 || at === text.length || isBoundary(text.charCodeAt(at - 1), text.charCodeAt(at))
  for (let at = text.indexOf(literal); at !== -1; at = text.indexOf(literal, at + 1)) {
    if (boundary(at) && boundary(at + literal.length)) return true
    if (at === text.length) return false
  }
  return false
}

function matchesWhole(stretches: readonly Stretch[], text: readonly number[]): boolean {
  const first = stretches[0]!
  const last = stretches.at(-1)!
  if (stretches.length === 1) return text.length === first.length && first.isAt(text, 0)
  let at = first.length
  if (at + last.length > text.length || !first.isAt(text, 0)) return false
  for (const stretch of stretches.slice(1, -1)) {
    at = stretch.endOf(text, at, ANYWHERE)
    if (at === NOWHERE) return false
  }
  const end = text.length - last.length
  return at <= end && last.isAt(text, end)
}

function matchesPart(stretches: readonly Stretch[], text: readonly number[]): boolean {
  let at = 0
  for (const [i, stretch] of stretches.entries()) {
    at = stretch.endOf(text, at, { startsWord: i === 0, endsWord: i === stretches.length - 1 })
    if (at === NOWHERE) return false
  }
  return true
}

interface Place {
  readonly startsWord: boolean
  readonly endsWord: boolean
}

const ANYWHERE: Place = { startsWord: false, endsWord: false }
const NOWHERE = -1
const ANY = 0x3f

/** What stands between two `*` of a pattern. */
class Stretch {
  readonly length: number
  readonly #codes: readonly number[]
  readonly #wild: boolean
  #borders: Int32Array | undefined
  #masks: Masks | undefined

  constructor(stretch: string, wild: boolean) {
    this.#codes = codesOf(stretch)
    this.#wild = wild
    this.length = this.#codes.length
  }

  isAt(text: readonly number[], at: number): boolean {
    for (let i = 0; i < this.length; i++) {
      if (this.#codes[i] !== text[at + i] && !(this.#wild && this.#codes[i] === ANY)) return false
    }
    return true
  }

  /** Where the first occurrence ends that begins at `from` or later and is placed as wished; -1 when there is none. */
  endOf(text: readonly number[], from: number, place: Place): number {
    if (this.length === 0) return from
    if (text.length - from < this.length) return NOWHERE
    if (!this.#wild) return this.#endOfLiteral(text, from, place)
    return this.length <= SHORT_WILD ? this.#endOfShort(text, from, place) : this.#endOfWild(text, from, place)
  }

  #endOfShort(text: readonly number[], from: number, place: Place): number {
    for (let end = from + this.length; end <= text.length; end++) {
      if (this.isAt(text, end - this.length) && this.#isPlaced(text, end, place)) return end
    }
    return NOWHERE
  }

  #endOfLiteral(text: readonly number[], from: number, place: Place): number {
    const codes = this.#codes
    const borders = (this.#borders ??= bordersOf(codes))
    let matched = 0
    for (let i = from; i < text.length; i++) {
      const code = text[i]!
      while (matched > 0 && (matched === codes.length || codes[matched] !== code)) matched = borders[matched - 1]!
      if (codes[matched] === code) matched++
      if (matched === codes.length && this.#isPlaced(text, i + 1, place)) return i + 1
    }
    return NOWHERE
  }

  /** Bit `n` of `matched`: the text up to here ends with the first `n + 1` characters of the stretch. */
  #endOfWild(text: readonly number[], from: number, place: Place): number {
    if (this.length > MAX_WILD_STRETCH) return NOWHERE
    const { rows, bits, words } = (this.#masks ??= masksOf(this.#codes))
    const matched = new Int32Array(words)
    const last = (this.length - 1) & 31
    let top = 0 // all bits are in words up to here
    for (let i = from; i < text.length; i++) {
      const row = rows.get(text[i]!) ?? 0
      const end = top + 1 < words ? top + 1 : top
      let carry = 1
      for (let w = 0; w <= end; w++) {
        const before = matched[w]!
        const after = ((before << 1) | carry) & bits[row + w]!
        carry = before >>> 31
        matched[w] = after
        if (after !== 0) top = w
      }
      if (((matched[words - 1]! >>> last) & 1) === 1 && this.#isPlaced(text, i + 1, place)) return i + 1
    }
    return NOWHERE
  }

  #isPlaced(text: readonly number[], end: number, { startsWord, endsWord }: Place): boolean {
    const start = end - this.length
    return (
      (!startsWord || isBoundary(text[start - 1], text[start])) && (!endsWord || isBoundary(text[end - 1], text[end]))
    )
  }
}

/** For each beginning of the stretch, the length of the longest shorter one that it also ends with. */
function bordersOf(codes: readonly number[]): Int32Array {
  const borders = new Int32Array(codes.length)
  let length = 0
  for (let i = 1; i < codes.length; i++) {
    while (length > 0 && codes[length] !== codes[i]) length = borders[length - 1]!
    if (codes[length] === codes[i]) length++
    borders[i] = length
  }
  return borders
}

/** `bits` has rows of `words` each: where in the stretch a character may stand. Row 0 is for those not in `rows`. */
interface Masks {
  readonly rows: ReadonlyMap<number, number>
  readonly bits: Int32Array
  readonly words: number
}

function masksOf(codes: readonly number[]): Masks {
  const words = ((codes.length - 1) >>> 5) + 1
  const distinct = Array.from(new Set(codes))
  const rows = new Map(distinct.map((code, i) => [code, (i + 1) * words]))
  const bits = new Int32Array((distinct.length + 1) * words)
  for (const [position, code] of codes.entries()) {
    const bit = 1 << (position & 31)
    const word = position >>> 5
    if (code !== ANY) bits[rows.get(code)! + word]! |= bit
    else for (let row = 0; row < bits.length; row += words) bits[row + word]! |= bit
  }
  return { rows, bits, words }
}
