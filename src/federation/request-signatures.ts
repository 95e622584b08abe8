/** Whether the signature of a request is right, worked out on a thread of its own where that takes long. */
import { extname } from 'node:path'
import { URL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { pause } from '../store/pauses.js'
import { isRightAsSent, isRightRewritten, isRightWithout, type Signed, type SignedBody } from './request-signature.js'

/** In bytes: what is hashed, and what is parsed and written again, by the way. Either takes some milliseconds at most. */
const BY_THE_WAY = { hashed: 1024 * 1024, rewritten: 16 * 1024 }

export class RequestSignatures {
  #thread: Worker | undefined
  /** The thread has one question at a time. */
  #last: Promise<unknown> = Promise.resolve()

  /** `body`: as it came; undefined, or empty, for a request without content. */
  async isRight(signed: Signed, body: Buffer | undefined): Promise<boolean> {
    if (body === undefined || body.length === 0) return isRightWithout(signed)
    const { length } = body
    if (length <= BY_THE_WAY.hashed && isRightAsSent({ ...signed, body })) return true
    if (length <= BY_THE_WAY.rewritten) return isRightRewritten({ ...signed, body })
    // The thread gets a copy: the body itself is read on afterwards.
    const copy = new Uint8Array(body)
    // Copying takes some milliseconds, and to start the thread as long.
    await pause()
    return this.#onThread({ ...signed, body: copy })
  }

  async close(): Promise<void> {
    await this.#thread?.terminate()
  }

  #onThread(question: SignedBody): Promise<boolean> {
    const answer = this.#last.then(() => this.#ask(question))
    this.#last = answer
    return answer
  }

  /** False when the thread dies of it. */
  #ask(question: SignedBody): Promise<boolean> {
    const thread = (this.#thread ??= this.#start())
    return new Promise((resolve) => {
      const answered = (isRight: boolean) => {
        thread.off('message', answered)
        thread.off('exit', died)
        resolve(isRight)
      }
      const died = () => answered(false)
      thread.on('message', answered)
      thread.on('exit', died)
      thread.postMessage(question, [question.body.buffer as ArrayBuffer])
    })
  }

  #start(): Worker {
    const thread = new Worker(new URL(`./request-signatures-thread${extname(import.meta.url)}`, import.meta.url))
    thread.unref()
    // It exits after it, and who waits is told.
    thread.on('error', () => undefined)
    thread.on('exit', () => {
      if (this.#thread === thread) this.#thread = undefined
    })
    return thread
  }
}
