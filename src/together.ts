import { setImmediate as nextTurn } from 'node:timers/promises'

/**
 * Questions that are asked in one turn of the event loop, answered together, as by one statement. Where that fails, each
 * is asked by itself: what is wrong with one is no fault of the others.
 */
export class Together<Question, Answer> {
  private gathering: { readonly questions: Question[]; readonly answers: Promise<readonly Answer[]> } | undefined

  /** `answer`: in the order of the questions. */
  constructor(private readonly answer: (questions: readonly Question[]) => Promise<readonly Answer[]>) {}

  async ask(question: Question): Promise<Answer> {
    const gathering = (this.gathering ??= this.begin())
    const at = gathering.questions.push(question) - 1
    try {
      return (await gathering.answers)[at]!
    } catch (cause) {
      if (gathering.questions.length === 1) throw cause
      return (await this.answer([question]))[0]!
    }
  }

  private begin() {
    const questions: Question[] = []
    const answers = nextTurn().then(() => {
      this.gathering = undefined
      return this.answer(questions)
    })
    return { questions, answers }
  }
}
