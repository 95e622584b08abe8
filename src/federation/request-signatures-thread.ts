/** Runs on a worker thread: says of what it is sent, one after the other, whether it is signed. */
import { parentPort } from 'node:worker_threads'
import { isRightAsSent, isRightRewritten, type SignedBody } from './request-signature.js'

parentPort?.on('message', (signed: SignedBody) =>
  parentPort!.postMessage(isRightAsSent(signed) || isRightRewritten(signed)),
)
