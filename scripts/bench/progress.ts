/** One line on a terminal, rewritten; nothing where standard error is not one. At most ten updates a second. */

export class Progress {
  #shownAt = 0
  readonly #terminal = process.stderr.isTTY

  show(text: string): void {
    const now = performance.now()
    if (!this.#terminal || now - this.#shownAt < 100) return
    this.#shownAt = now
    process.stderr.write(`\r\x1b[2K${text.slice(0, (process.stderr.columns || 80) - 1)}`)
  }

  clear(): void {
    if (this.#terminal) process.stderr.write('\r\x1b[2K')
  }
}
