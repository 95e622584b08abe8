import { afterAll, expect, it } from '@jest/globals'
import express from 'express'
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'node:tls'
import { listen } from '../../src/http/server.js'
import { silentLogger } from '../../src/logger.js'

const folder = mkdtempSync(join(tmpdir(), 'hearth-tls-'))
afterAll(() => rmSync(folder, { recursive: true }))

const use = (name: string, ending: 'crt' | 'key') =>
  copyFileSync(new URL(`../fixtures/tls/${name}.${ending}`, import.meta.url), join(folder, `tls.${ending}`))

/** The name in the certificate that the server shows. */
const shown = (port: number) =>
  new Promise<string | undefined>((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().subject.CN as string | undefined)
      socket.destroy()
    })
    socket.on('error', reject)
  })

it('takes a renewed certificate without a restart, and keeps the old one while the pair does not match', async () => {
  use('one', 'crt')
  use('one', 'key')
  const tls = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key'), pollMs: 5 }
  const server = await listen(express(), { host: '127.0.0.1', port: 0, tls, logger: silentLogger })
  expect(await shown(server.port)).toBe('one.example.org')

  use('two', 'crt')
  expect(await shown(server.port)).toBe('one.example.org')
  use('two', 'key')
  let name = await shown(server.port)
  while (name !== 'two.example.org') name = await shown(server.port)
  await server.close(0)
})
