/** How much a process's resident memory has grown at most since this was made; looked at twenty times a second. */

import { memoryOf } from '../machine.js'

const MB = 1024 * 1024

export class PeakMemory {
  readonly #before: number
  #peak: number
  readonly #timer: NodeJS.Timeout

  constructor(readonly pid: number) {
    this.#before = this.#peak = memoryOf(pid).rss ?? NaN
    this.#timer = setInterval(() => this.#look(), 50)
  }

  /** In MB. It is not looked at any more. */
  growth(): number {
    clearInterval(this.#timer)
    this.#look()
    return (this.#peak - this.#before) / MB
  }

  #look(): void {
    this.#peak = Math.max(this.#peak, memoryOf(this.pid).rss ?? NaN)
  }
}
