import { setImmediate as nextTurn } from 'node:timers/promises'

interface Asked<Question, Answer> {
  readonly question: Question
  readonly resolve: (answer: Answer) => void
  readonly reject: (cause: unknown) => void
}

/**
 * Questions that are asked in one turn of the event loop, or while as many as may be are under way, answered together, as
 * by one statement: one for many costs hardly more than one for one. Where that fails, each is asked by itself: what is
 * wrong with one is no fault of the others.
 */
export class Together<Question, Answer> {
  private waiting: Asked<Question, Answer>[] = []
  private underWay = 0

  constructor(
    /** In the order of the questions. */
    private readonly answer: (questions: readonly Question[]) => Promise<readonly Answer[]>,
    private readonly limits = { atOnce: Infinity, most: Infinity },
  ) {}

  ask(question: Question): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const isFirst = this.waiting.push({ question, resolve, reject }) === 1
      if (isFirst && this.underWay < this.limits.atOnce) void this.drain()
    })
  }

  private async drain(): Promise<void> {
    this.underWay++
    await nextTurn()
    while (this.waiting.length > 0) await this.run(this.waiting.splice(0, this.limits.most))
    this.underWay--
  }

  private async run(asked: readonly Asked<Question, Answer>[]): Promise<void> {
    try {
      const answers = await this.answer(asked.map(({ question }) => question))
      for (const [index, { resolve }] of asked.entries()) resolve(answers[index]!)
    } catch (cause) {
      if (asked.length > 1) await Promise.all(asked.map((one) => this.run([one])))
      else for (const { reject } of asked) reject(cause)
    }
  }
}
