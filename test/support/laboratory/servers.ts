/**
 * Servers and users of the laboratory. A server's key is derived from its name, so that every test, every room file and
 * every scripted peer agrees on it, and a user id alone says who signs.
 */
import { hash } from 'node:crypto'
import { serverNameOf } from '../../../src/protocol/identifiers.js'
import { type SigningKey, signingKeyFromSeed } from '../../../src/protocol/signing.js'

export interface LabServer {
  readonly name: string
  readonly key: SigningKey
  user(localpart: string): string
}

const servers = new Map<string, LabServer>()

export function labServer(name: string): LabServer {
  const known = servers.get(name)
  if (known !== undefined) return known
  const key = signingKeyFromSeed('lab', hash('sha256', `laboratory ${name}`, 'buffer'))
  const server = { name, key, user: (localpart: string) => `@${localpart}:${name}` }
  servers.set(name, server)
  return server
}

export const serverOf = (userId: string): LabServer => labServer(serverNameOf(userId)!)

export const alice = '@alice:one.example'
export const bob = '@bob:one.example'
export const carol = '@carol:two.example'
export const dave = '@dave:two.example'
export const erin = '@erin:three.example'
