import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { randomBytes } from 'node:crypto'
import { decodeBase64 } from '../../src/protocol/base64.js'
import { signingKeyFromSeed, signText, verify } from '../../src/protocol/signing.js'
import { OwnSignatures } from '../../src/room/own-signatures.js'

const key = signingKeyFromSeed('a', randomBytes(32))
const messages = (count: number): string[] => Array.from({ length: count }, (_, at) => `{"message":"é ${at}"}`)

describe('signatures of our own events', () => {
  let signatures: OwnSignatures

  beforeEach(() => {
    signatures = new OwnSignatures(key)
  })
  afterEach(() => signatures.close())

  it.each([1, 2, 3, 50])('are right, each for its message, when %d are asked for at once', async (count) => {
    const made = await Promise.all(messages(count).map((message) => signatures.sign(message)))
    messages(count).forEach((message, at) =>
      expect(verify(key.publicKey, Buffer.from(message), decodeBase64(made[at]!)!)).toBe(true),
    )
  })

  it('are made all the same when their thread ends before it answers, and afterwards', async () => {
    const asked = Promise.all(messages(20).map((message) => signatures.sign(message)))
    await Promise.resolve()
    await signatures.close()
    const made = [...(await asked), ...(await Promise.all(messages(20).map((message) => signatures.sign(message))))]
    expect(made).toEqual([...messages(20), ...messages(20)].map((message) => signText(key, message)))
  })
})
