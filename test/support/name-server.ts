import { createSocket, type RemoteInfo, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { isIPv4 } from 'node:net'
import type { AddressInfo } from 'node:net'

const HEADER_BYTES = 12
const types = { A: 1, AAAA: 28 }
/** A test asks for a hundred names in one breath, and what does not fit is lost. */
const BUFFER_BYTES = 1 << 20
const codes = { answered: 0, failed: 2, absent: 3 }

/** A name server on loopback that says what a test wants it to say, about addresses. */
export class NameServer {
  /** Addresses of names, or what becomes of a question about them; others are absent. */
  readonly names = new Map<string, readonly string[] | 'silence' | 'failure'>()
  readonly asked: string[] = []

  private constructor(private readonly socket: Socket) {
    socket.on('message', (question, from) => this.#answer(question, from))
  }

  static async listening(): Promise<NameServer> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: BUFFER_BYTES }).bind(0, '127.0.0.1')
    await once(socket, 'listening')
    return new NameServer(socket)
  }

  /** As for `Resolver.setServers`. */
  get address(): string {
    return `127.0.0.1:${(this.socket.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.socket.close(() => resolve()))
  }

  #answer(message: Buffer, from: RemoteInfo): void {
    const { name, type, end } = questionOf(message)
    this.asked.push(name)
    const known = this.names.get(name) ?? 'absence'
    if (known === 'silence') return
    const isText = typeof known === 'string'
    const records = isText ? [] : known.filter((address) => (isIPv4(address) ? types.A : types.AAAA) === type)
    const code = known === 'failure' ? codes.failed : known === 'absence' ? codes.absent : codes.answered
    const header = Buffer.from(message.subarray(0, HEADER_BYTES))
    header.writeUInt16BE(0x8180 | code, 2)
    header.writeUInt16BE(1, 4)
    header.writeUInt16BE(records.length, 6)
    header.writeUInt32BE(0, 8)
    const question = message.subarray(HEADER_BYTES, end)
    this.socket.send(Buffer.concat([header, question, ...records.map((address) => record(type, address))]), from.port)
  }
}

function questionOf(message: Buffer): { name: string; type: number; end: number } {
  const labels: string[] = []
  let at = HEADER_BYTES
  for (let length = message[at]!; length > 0; length = message[at]!) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
  return { name: labels.join('.').toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 }
}

/** Of the name that was asked for, for a minute. IPv6 addresses are written in full. */
function record(type: number, address: string): Buffer {
  const data = isIPv4(address)
    ? Buffer.from(address.split('.').map(Number))
    : Buffer.from(
        address
          .split(':')
          .map((part) => part.padStart(4, '0'))
          .join(''),
        'hex',
      )
  const head = Buffer.from([0xc0, HEADER_BYTES, 0, type, 0, 1, 0, 0, 0, 60, 0, data.length])
  return Buffer.concat([head, data])
}
