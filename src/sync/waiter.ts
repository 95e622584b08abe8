export type Wakening = 'news' | 'time' | 'gone' | 'stop'

/**
 * A poll that waits: registered before it reads, so that what happens while it reads is not missed. Small, since there
 * are thousands: one timer and one promise.
 */
export class Waiter {
  private reason: Wakening | undefined
  private resolve: ((reason: Wakening) => void) | undefined

  wake(reason: Wakening): void {
    if (this.reason === undefined || reason !== 'news') this.reason = reason
    this.resolve?.(this.reason)
  }

  /** Resolves at once when it was woken since it was made. */
  woken(milliseconds: number): Promise<Wakening> {
    if (this.reason !== undefined) return Promise.resolve(this.reason)
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.wake('time'), milliseconds)
      this.resolve = (reason) => {
        clearTimeout(timer)
        resolve(reason)
      }
    })
  }
}
