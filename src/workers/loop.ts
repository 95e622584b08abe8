/**
 * Runs a step again and again, with a pause between the end of one and the begin of the next. A step that fails is logged
 * and tried again after the pause: what it did not do is still to be done.
 */
export interface Loop {
  /** Ends when the step in hand has ended. May be called twice, and before the first step. */
  stop(): Promise<void>
}

export interface LoopOptions {
  readonly name: string
  /** In ms, before the first step and between steps. */
  readonly pause: number
  /** Is told to end early when the loop is stopped. */
  readonly step: (signal: AbortSignal) => Promise<void>
  readonly logger: { error(fields: object, message: string): void }
}

export function startLoop({ name, pause, step, logger }: LoopOptions): Loop {
  const stopping = new AbortController()
  let running: Promise<void> = Promise.resolve()
  let timer: NodeJS.Timeout
  const run = async () => {
    try {
      await step(stopping.signal)
    } catch (cause) {
      if (!stopping.signal.aborted) logger.error({ err: cause, worker: name }, 'a step of a worker failed')
    }
    if (!stopping.signal.aborted) schedule()
  }
  const schedule = () => {
    timer = setTimeout(() => void (running = run()), pause).unref()
  }
  schedule()
  return {
    async stop() {
      stopping.abort()
      clearTimeout(timer)
      await running
    },
  }
}
