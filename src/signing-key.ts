import { randomBytes, randomInt } from 'node:crypto'
import { existsSync, linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { formatSigningKeyFile, isPublishedKey, parseSigningKeyFile, type SigningKey } from './protocol/signing.js'

/**
 * The file of the key this server signs with. It is the server: whoever has it can speak for all its users, and without
 * it the server cannot speak in the rooms it is in.
 */

/** Undefined where there is no file. Throws, naming the file, where it holds no usable key. */
export function readSigningKey(path: string): SigningKey | undefined {
  if (!existsSync(path)) return undefined
  const key = parse(path)
  if (isPublishedKey(key.publicKey)) {
    throw new Error(`The signing key in ${path} is publicly known: anybody can sign with it. Make another one`)
  }
  return key
}

function parse(path: string): SigningKey {
  try {
    return parseSigningKeyFile(readFileSync(path, 'utf8'))
  } catch (cause) {
    throw new Error(`SIGNING_KEY_FILE ${path}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
  }
}

/** Writes a new key that only this user can read, and returns it; where another process was first, returns that one's. */
export function makeSigningKey(path: string): SigningKey {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const draft = `${path}.${randomBytes(4).toString('hex')}`
  writeFileSync(draft, formatSigningKeyFile(newVersion(), randomBytes(32)), { mode: 0o600, flush: true, flag: 'wx' })
  try {
    linkSync(draft, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    rmSync(draft)
  }
  return parse(path)
}

const letters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** `a_` and four letters, as Synapse names its keys. */
const newVersion = (): string => `a_${Array.from({ length: 4 }, () => letters[randomInt(letters.length)]).join('')}`
