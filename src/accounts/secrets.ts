import { hash, randomBytes, randomInt } from 'node:crypto'

/** Random names and secrets, all from the system's generator. */

/** What an access token is known by: only this is kept. */
export const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer')

/** The same in base64, for look-ups in memory. */
export const sha256Base64 = (text: string): string => hash('sha256', text, 'base64')

/** 256 bits. The prefix is for scanners that look for secrets in public places. */
export const newAccessToken = (): string => `hearth_${randomBytes(32).toString('base64url')}`

/** 256 bits. Shown to other services, and good for nothing but to learn whose it is. */
export const newOpenIdToken = (): string => randomBytes(32).toString('base64url')

/** 128 bits, in letters that need no escaping in a URL. */
export const newSecret = (): string => randomBytes(16).toString('base64url')

/** Ten capital letters, as users are used to see them. */
export const newDeviceId = (): string => letters(10, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ')

/** A localpart for who asks for none: twelve characters without those that look alike. */
export const newLocalpart = (): string => letters(12, 'abcdefghijkmnpqrstuvwxyz23456789')

const letters = (length: number, alphabet: string): string =>
  Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('')
