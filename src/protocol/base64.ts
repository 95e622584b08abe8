/** Base64 as Matrix writes it, without padding. https://spec.matrix.org/v1.19/appendices/#unpadded-base64 */

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Standard alphabet, unpadded. */
export const encodeBase64 = (bytes: Uint8Array): string => withoutPadding(bufferOf(bytes).toString('base64'))

/** URL-safe alphabet, unpadded. */
export const encodeBase64Url = (bytes: Uint8Array): string => bufferOf(bytes).toString('base64url')

/** Standard base64 without its `=` signs. */
export function withoutPadding(text: string): string {
  const padding = text.indexOf('=', text.length - 2)
  return padding === -1 ? text : text.slice(0, padding)
}

/**
 * Either alphabet, padded or not; undefined if the text is not base64. Bits of the last character that belong to no byte
 * are ignored, as other servers do.
 */
export function decodeBase64(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/_-]*={0,2}$/.test(text)) return undefined
  const digits = withoutPadding(text).length
  const isPadded = digits !== text.length
  if (digits % 4 === 1 || (isPadded && text.length % 4 !== 0)) return undefined
  return Buffer.from(text, 'base64')
}
