import { settledWithin } from './settled-within.js'

/**
 * Runs tasks of one key in the order in which they come, each after the one before it has ended: for what is read, judged
 * and written by one user's devices. It holds within this process; across processes the last to write wins.
 */
export class OneAtATime {
  private readonly last = new Map<string, Promise<unknown>>()

  /** `patience`: who has waited so long goes on beside the one before, in ms. */
  async run<T>(key: string, task: () => Promise<T>, patience?: number): Promise<T> {
    const before = this.last.get(key)
    const running = before === undefined ? task() : after(before, patience).then(task)
    this.last.set(key, running)
    try {
      return await running
    } finally {
      if (this.last.get(key) === running) this.last.delete(key)
    }
  }

  /** When what runs has ended, or after so many ms. */
  async ended(key: string, patience: number): Promise<void> {
    const running = this.last.get(key)
    if (running !== undefined) await settledWithin(patience, running)
  }
}

async function after(before: Promise<unknown>, patience: number | undefined): Promise<void> {
  if (patience !== undefined) return settledWithin(patience, before)
  await before.catch(() => undefined)
}
