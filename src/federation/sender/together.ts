/**
 * What is asked for while the same is under way is done together by the next: a statement for many costs hardly more than
 * one for one. Nobody waits for others to come.
 */
import { isConnectionLost } from '../../store/log-writer.js'

interface Call<Of, Result> {
  readonly of: Of
  readonly resolve: (result: Result) => void
  readonly reject: (cause: unknown) => void
}

export class Together<Of, Result> {
  private waiting: Call<Of, Result>[] = []
  private isRunning = false

  constructor(
    /** Results in the order of what they are of. */
    private readonly task: (all: readonly Of[]) => Promise<readonly Result[]>,
    private readonly most = 100,
  ) {}

  of(of: Of): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ of, resolve, reject })
      if (!this.isRunning) void this.drain()
    })
  }

  private async drain(): Promise<void> {
    this.isRunning = true
    // Those who come in the same moment go together.
    await Promise.resolve()
    while (this.waiting.length > 0) await this.run(this.waiting.splice(0, this.most))
    this.isRunning = false
  }

  /** What fails fails alone; but where nothing can be had, nothing is asked again. */
  private async run(calls: readonly Call<Of, Result>[]): Promise<void> {
    try {
      const results = await this.task(calls.map(({ of }) => of))
      for (const [index, { resolve }] of calls.entries()) resolve(results[index]!)
    } catch (cause) {
      if (calls.length > 1 && !isConnectionLost(cause)) for (const call of calls) await this.run([call])
      else for (const { reject } of calls) reject(cause)
    }
  }
}
