import { isUtf8 } from 'node:buffer'
import type { IncomingMessage } from 'node:http'
import { isObject, type JsonObject } from '../protocol/json.js'
import { badJson, MatrixError, notJson, tooLarge } from '../protocol/matrix-error.js'
import { JsonError, parseJson } from '../protocol/strict-json.js'

export const DEFAULT_BODY_LIMIT = 1024 * 1024

/**
 * So much beyond its limit a body is still read, and thrown away, before it is refused: a client that is cut off while it
 * writes sees a broken connection and not the answer. What announces more than this is cut off.
 */
const DRAIN = 8 * 1024 * 1024

export interface JsonBody {
  readonly value: JsonObject
  /** The first number in the text that canonical JSON would not have written so, such as `1.0`: strict rooms refuse it. */
  readonly nonCanonicalNumber?: string | undefined
  /** As it came, for what is kept as the client wrote it. */
  readonly text: string
}

/** In bytes. What announces more is written to its place as it comes: to put it together in the end would hold up others. */
const LONG = 1024 * 1024

/** Reads a body whole. Throws M_TOO_LARGE beyond `limit` bytes. */
export async function readBody(request: IncomingMessage, limit: number): Promise<Buffer> {
  const announced = Number(request.headers['content-length'] ?? 0)
  if (announced > limit + DRAIN) throw cutOff(limit)
  if (request.destroyed && !request.complete) throw new ClientGone()

  return new Promise((resolve, reject) => {
    const whole = announced > LONG && announced <= limit ? Buffer.allocUnsafeSlow(announced) : undefined
    const chunks: Buffer[] = []
    let length = 0
    request.on('data', (chunk: Buffer) => {
      if (whole !== undefined) chunk.copy(whole, length)
      length += chunk.length
      if (whole === undefined && length <= limit) chunks.push(chunk)
      else if (length > limit + DRAIN) reject(cutOff(limit))
    })
    request.on('end', () => {
      if (length > limit) reject(tooLarge(`The body may have ${limit} bytes`))
      else resolve(whole ?? (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, length)))
    })
    request.on('error', reject)
    request.on('close', () => {
      if (!request.complete) reject(new ClientGone())
    })
  })
}

/** The client hung up while it was sending: nobody is left to be answered. */
export class ClientGone extends Error {
  override readonly name = 'ClientGone'
}

const cutOff = (limit: number) =>
  new MatrixError(413, 'M_TOO_LARGE', `The body may have ${limit} bytes`, {}, { Connection: 'close' })

/** An object, or M_NOT_JSON for what is not JSON at all and M_BAD_JSON for JSON that is not what Matrix asks for. */
export function parseJsonBody(bytes: Buffer): JsonBody {
  const text = decode(bytes)
  const { value, nonCanonicalNumber } = parse(text)
  if (!isObject(value)) throw badJson('The body must be a JSON object')
  return { value, nonCanonicalNumber, text }
}

/** A body that its handler looks into. */
export const textBody = (bytes: Buffer): JsonBody => ({ value: {}, text: decode(bytes) })

function decode(bytes: Buffer): string {
  if (!isUtf8(bytes)) throw notJson('The body is not UTF-8')
  return bytes.toString('utf8')
}

function parse(text: string): ReturnType<typeof parseJson> {
  try {
    return parseJson(text)
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause
    if (cause.kind === 'syntax') throw notJson('The body is not JSON')
    throw badJson(`The body is JSON that Matrix does not allow: ${cause.message}`)
  }
}

/** The fields of an HTML form (`application/x-www-form-urlencoded`). Of a field sent twice the first counts. */
export function parseFormBody(bytes: Buffer): JsonObject {
  const fields: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [name, value] of new URLSearchParams(decode(bytes))) fields[name] ??= value
  return fields
}
