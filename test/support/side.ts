import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll } from '@jest/globals'
import { TestAuthority } from './certificates.js'
import { freePort } from './free-port.js'
import { type Link, linkOfPorts } from './link.js'
import type { TestDatabase } from './postgres.js'
import { type HearthProcess, type Installation, installation } from './server-process.js'

/** What servers on loopback trust, and the certificate that they show. */
export class TlsFiles {
  readonly authority = new TestAuthority()
  readonly #folder = mkdtempSync(join(tmpdir(), 'hearth-tls-'))

  constructor() {
    const { cert, key } = this.authority.issue('localhost')
    for (const [name, pem] of Object.entries({ ca: this.authority.cert, cert, key }))
      writeFileSync(join(this.#folder, `${name}.pem`), pem)
    afterAll(() => rmSync(this.#folder, { recursive: true }))
  }

  get environment(): Record<string, string> {
    const file = (name: string) => join(this.#folder, `${name}.pem`)
    return { TLS_CERT_FILE: file('cert'), TLS_KEY_FILE: file('key'), TRUSTED_CA_FILE: file('ca') }
  }
}

/** A server as operators run it, with TLS on loopback, behind a link that can be cut. */
export class Side {
  process!: HearthProcess

  private constructor(
    /** Its server name. */
    readonly name: string,
    readonly hearth: Installation,
    /** By which other servers come here. */
    readonly link: Link,
  ) {}

  static async begin(database: TestDatabase, tls: TlsFiles): Promise<Side> {
    const [outside, inside] = [await freePort(), await freePort()]
    const name = `localhost:${outside}`
    const hearth = await installation({
      SERVER_NAME: name,
      DATABASE_URL: database.url,
      TLS_LISTEN: `127.0.0.1:${inside}`,
      OUTBOUND_ALLOW: 'all',
      ...tls.environment,
    })
    const side = new Side(name, hearth, linkOfPorts(outside, inside))
    await side.link.mend()
    await side.start()
    return side
  }

  async start(): Promise<void> {
    this.process = await this.hearth.start()
  }

  kill(): Promise<unknown> {
    return this.process.end('SIGKILL')
  }
}
