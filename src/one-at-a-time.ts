/**
 * Runs tasks of one key in the order in which they come, each after the one before it has ended: for what is read, judged
 * and written by one user's devices. It holds within this process; across processes the last to write wins.
 */
export class OneAtATime {
  private readonly last = new Map<string, Promise<unknown>>()

  async run<T>(key: string, task: () => Promise<T>): Promise<T> {
    const before = this.last.get(key)
    const running = before === undefined ? task() : before.then(task, task)
    this.last.set(key, running)
    try {
      return await running
    } finally {
      if (this.last.get(key) === running) this.last.delete(key)
    }
  }
}
