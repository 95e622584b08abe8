import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { eventually } from './eventually.js'
import { freePort } from './free-port.js'
import { type Link, linkOfPorts } from './link.js'

describe('a link that is held up', () => {
  const echo = createServer((socket) => socket.pipe(socket).on('error', () => {}))
  const clients: Socket[] = []
  let link: Link
  let port: number

  beforeEach(async () => {
    await once(echo.listen(0, '127.0.0.1'), 'listening')
    port = await freePort()
    link = linkOfPorts(port, (echo.address() as AddressInfo).port)
    await link.mend()
  })

  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy()
    await link.cut()
    await new Promise((resolve) => echo.close(resolve))
  })

  async function client(): Promise<{ socket: Socket; heard: () => string }> {
    const socket = connect(port, '127.0.0.1')
    clients.push(socket)
    let heard = ''
    socket.on('data', (bytes: Buffer) => (heard += bytes.toString()))
    await once(socket, 'connect')
    return { socket, heard: () => heard }
  }

  it('lets through what was held up, in order and once, when it is mended', async () => {
    const before = await client()
    before.socket.write('1')
    await eventually('it gets through', () => before.heard() === '1')
    link.holdUp()
    const meanwhile = await client()
    for (const { socket } of [before, meanwhile]) socket.write('2')
    await new Promise((resolve) => setImmediate(resolve))
    expect([before.heard(), meanwhile.heard()]).toEqual(['1', ''])
    await link.mend()
    await link.mend()
    for (const { socket } of [before, meanwhile]) socket.write('3')
    await eventually('all gets through', () => before.heard() === '123' && meanwhile.heard() === '23')
  })
})
