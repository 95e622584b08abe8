import { hash } from 'node:crypto'
import { decodeBase64, encodeBase64, withoutPadding } from './base64.js'
import { canonicalJson, type CanonicalNumbers } from './canonical-json.js'
import { isObject, own, ownString, type JsonObject } from './json.js'
import { redact } from './redaction.js'
import type { RoomVersionRules } from './room-versions.js'

/** The two hashes of an event. https://spec.matrix.org/v1.19/server-server-api/#calculating-the-content-hash-for-an-event */

/** How the numbers of an event are written before hashing. */
export const numbersOf = (rules: RoomVersionRules): CanonicalNumbers =>
  rules.strictCanonicalJson ? 'safe-integers' : 'any'

/** SHA-256 of a text in UTF-8, in unpadded base64. */
export const sha256Base64 = (text: string): string => withoutPadding(hash('sha256', text, 'base64'))

/** Covers the whole event but `unsigned`, `signatures` and `hashes`. Unpadded base64. Throws `CanonicalJsonError`. */
export const contentHash = (pdu: JsonObject, numbers?: CanonicalNumbers): string =>
  sha256Base64(canonicalJson({ ...pdu, unsigned: undefined, signatures: undefined, hashes: undefined }, numbers))

/** Whether `hashes.sha256` is the content hash. If not, the content was changed or redacted on its way. */
export function contentHashMatches(rules: RoomVersionRules, pdu: JsonObject): boolean {
  const hashes = own(pdu, 'hashes')
  const claimed = isObject(hashes) ? decodeBase64(ownString(hashes, 'sha256') ?? '') : undefined
  return claimed !== undefined && encodeBase64(claimed) === contentHash(pdu, numbersOf(rules))
}

/** What signatures and the reference hash cover: the redacted event without `signatures` and `unsigned`. */
export const signedText = (rules: RoomVersionRules, pdu: JsonObject): string =>
  canonicalJson({ ...redact(rules, pdu), signatures: undefined, unsigned: undefined }, numbersOf(rules))

/** SHA-256 of the essential fields, `hashes` included: what event ids are made of. Throws `CanonicalJsonError`. */
export const referenceHash = (rules: RoomVersionRules, pdu: JsonObject): Uint8Array =>
  hash('sha256', signedText(rules, pdu), 'buffer')
