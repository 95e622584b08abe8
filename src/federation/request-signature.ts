/**
 * Whether a signature is that of a request. What is signed holds the content as canonical JSON, and nearly every server
 * sends it so: then the bytes that came are what was signed, and nothing has to be parsed to know. Otherwise they are
 * parsed and written again. Made up by somebody who knows how, a body of 16 MB takes seconds of that.
 *
 * The first way is not fooled by a body that reaches over its end: what stands around the content is written here, and in
 * a string of canonical JSON every quote is escaped, so that none can stand for it.
 */
import { CanonicalJsonError } from '../protocol/canonical-json.js'
import { isObject } from '../protocol/json.js'
import { verify } from '../protocol/signing.js'
import { JsonError, parseExactJson } from '../protocol/strict-json.js'
import { requestText, textAroundContent, type RequestToSign } from '../protocol/x-matrix.js'

export interface Signed {
  readonly request: Omit<RequestToSign, 'content'>
  readonly publicKey: Uint8Array
  readonly signature: Uint8Array
}

export interface SignedBody extends Signed {
  /** As it came. */
  readonly body: Uint8Array
}

export const isRightWithout = ({ request, publicKey, signature }: Signed): boolean =>
  verify(publicKey, Buffer.from(requestText(request)), signature)

export function isRightAsSent({ request, publicKey, signature, body }: SignedBody): boolean {
  const [before, after] = textAroundContent(request)
  return verify(publicKey, Buffer.concat([Buffer.from(before), body, Buffer.from(after)]), signature)
}

/** False, too, where there is no such text: nobody has signed it. */
export function isRightRewritten({ request, publicKey, signature, body }: SignedBody): boolean {
  try {
    const content = parseExactJson(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString())
    if (!isObject(content)) return false
    return verify(publicKey, Buffer.from(requestText({ ...request, content })), signature)
  } catch (cause) {
    if (cause instanceof CanonicalJsonError || cause instanceof JsonError) return false
    throw cause
  }
}
