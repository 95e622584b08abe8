/** Runs on a worker thread: signs what it is sent. */
import { sign, type KeyObject } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'
import { encodeBase64 } from '../protocol/base64.js'
import { SEPARATOR } from './signing-messages.js'

const key = workerData as KeyObject

parentPort?.on('message', (texts: string) => {
  const signatures = texts.split(SEPARATOR).map((text) => encodeBase64(sign(null, Buffer.from(text), key)))
  parentPort!.postMessage(signatures.join(SEPARATOR))
})
