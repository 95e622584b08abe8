/** Runs on a worker thread: signs what it is sent. */
import { sign, type KeyObject } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'

const key = workerData as KeyObject

parentPort?.on('message', (messages: readonly Uint8Array[]) =>
  parentPort!.postMessage(messages.map((message) => sign(null, message, key))),
)
