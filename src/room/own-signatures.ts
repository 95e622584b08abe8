/**
 * Signatures of our own events. Making one costs as much as all else a send does before its commit, and nothing waits for
 * it but the write. Those that are asked for in one moment, when there are several, are therefore made together on a thread
 * of its own; a message to it costs a wake-up, which one signature alone is not worth (nor would be a task of the thread
 * pool for each). The thread is started when it is first needed and lives as long as the engine.
 */
import { extname } from 'node:path'
import { URL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { signText, type SigningKey } from '../protocol/signing.js'
import { SEPARATOR } from './signing-messages.js'

/** From so many on, the thread signs. */
const SEVERAL = 3

interface Asked {
  readonly text: string
  readonly resolve: (signature: string) => void
}

export class OwnSignatures {
  private asked: Asked[] = []
  private thread: Worker | undefined
  /** What the thread has been sent, in order: it answers in that order. */
  private underWay: (readonly Asked[])[] = []

  constructor(readonly key: SigningKey) {}

  /** Of a canonical JSON text. Resolves with the signature in base64. */
  sign(text: string): Promise<string> {
    return new Promise((resolve) => {
      this.asked.push({ text, resolve })
      // Those who go on in the same moment (src/store/turns.ts) go together.
      if (this.asked.length === 1) queueMicrotask(() => this.flush())
    })
  }

  private flush(): void {
    const asked = this.asked
    this.asked = []
    if (asked.length < SEVERAL) return this.signHere(asked)
    this.thread ??= this.start()
    this.underWay.push(asked)
    this.thread.postMessage(asked.map(({ text }) => text).join(SEPARATOR))
  }

  private signHere(asked: readonly Asked[]): void {
    for (const { text, resolve } of asked) resolve(signText(this.key, text))
  }

  private start(): Worker {
    const thread = new Worker(new URL(`./signing-thread${extname(import.meta.url)}`, import.meta.url), {
      workerData: this.key.privateKey,
    })
    thread.unref()
    thread.on('message', (answer: string) => {
      const signatures = answer.split(SEPARATOR)
      this.underWay.shift()?.forEach(({ resolve }, at) => resolve(signatures[at]!))
    })
    const ended = () => {
      if (this.thread !== thread) return
      this.thread = undefined
      for (const asked of this.underWay.splice(0)) this.signHere(asked)
    }
    thread.on('error', ended)
    thread.on('exit', ended)
    return thread
  }

  async close(): Promise<void> {
    await this.thread?.terminate()
  }
}
