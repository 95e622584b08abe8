/** A certificate authority for tests, made when it is asked for: certificates that stand in files expire. */
import { generateKeyPairSync, randomBytes, sign, type KeyObject } from 'node:crypto'
import { isIP, isIPv4 } from 'node:net'

export interface Certificate {
  /** In PEM. */
  readonly cert: string
  /** In PEM. */
  readonly key: string
}

export class TestAuthority {
  /** In PEM, as TRUSTED_CA_FILE holds it. */
  readonly cert: string
  readonly #keys = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  readonly #name = `Test authority ${randomBytes(4).toString('hex')}`

  /** `days`: how long certificates last from now on; below 0 they have expired. They began a day ago. */
  constructor(private readonly days = 1) {
    this.cert = this.#certificate(this.#name, this.#keys.publicKey, [authority])
  }

  /** For host names and addresses. */
  issue(...names: string[]): Certificate {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const alternative = extension('551d11', sequence(...names.map(alternativeName)))
    return {
      cert: this.#certificate(names[0] ?? 'nobody', publicKey, [alternative]),
      key: privateKey.export({ format: 'pem', type: 'pkcs8' }) as string,
    }
  }

  #certificate(subject: string, publicKey: KeyObject, extensions: Buffer[]): string {
    const day = 24 * 60 * 60_000
    const validity = sequence(time(Date.now() - day), time(Date.now() + this.days * day))
    const toBeSigned = sequence(
      tagged(0xa0, tagged(0x02, Buffer.from([2]))),
      tagged(0x02, Buffer.concat([Buffer.from([1]), randomBytes(8)])),
      ecdsaWithSha256,
      distinguishedName(this.#name),
      validity,
      distinguishedName(subject),
      publicKey.export({ format: 'der', type: 'spki' }),
      tagged(0xa3, sequence(...extensions)),
    )
    const signature = sign('sha256', toBeSigned, this.#keys.privateKey)
    const whole = sequence(toBeSigned, ecdsaWithSha256, tagged(0x03, Buffer.concat([Buffer.from([0]), signature])))
    const lines = whole.toString('base64').match(/.{1,64}/g) ?? []
    return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`
  }
}

function tagged(tag: number, ...contents: Uint8Array[]): Buffer {
  const content = Buffer.concat(contents)
  const length = content.length
  const head =
    length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255]
  return Buffer.concat([Buffer.from(head), content])
}

const sequence = (...contents: Uint8Array[]): Buffer => tagged(0x30, ...contents)
const oid = (hex: string): Buffer => tagged(0x06, Buffer.from(hex, 'hex'))
const ecdsaWithSha256 = sequence(oid('2a8648ce3d040302'))

const distinguishedName = (commonName: string): Buffer =>
  sequence(tagged(0x31, sequence(oid('550403'), tagged(0x0c, Buffer.from(commonName)))))

const time = (ms: number): Buffer => tagged(0x18, Buffer.from(new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, '')))

const extension = (id: string, value: Buffer, ...critical: Buffer[]): Buffer =>
  sequence(oid(id), ...critical, tagged(0x04, value))

/** Basic constraints: it may sign others. */
const isTrue = tagged(0x01, Buffer.from([0xff]))
const authority = extension('551d13', sequence(isTrue), isTrue)

function alternativeName(name: string): Buffer {
  return isIP(name) === 0 ? tagged(0x82, Buffer.from(name)) : tagged(0x87, addressBytes(name))
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number))
  const [head = '', tail = ''] = address.split('::')
  const groups = (part: string) => (part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16)))
  const [before, after] = [groups(head), groups(tail)]
  const all = [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
  return Buffer.from(all.flatMap((group) => [group >> 8, group & 255]))
}
