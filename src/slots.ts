/** So many tasks at once; the others wait for their turn in the order in which they came. */
export class Slots {
  #free: number
  readonly #waiting = new Set<() => void>()

  constructor(size: number) {
    this.#free = size
  }

  /** Rejects with the signal's reason when it is aborted before the task has begun. */
  async run<T>(task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    await this.#turn(signal)
    try {
      return await task()
    } finally {
      this.#next()
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.#free > 0) {
      this.#free--
      return
    }
    await new Promise<void>((resolve, reject) => {
      const begin = () => {
        signal.removeEventListener('abort', giveUp)
        resolve()
      }
      const giveUp = () => {
        this.#waiting.delete(begin)
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', giveUp)
      this.#waiting.add(begin)
    })
  }

  /** The slot goes to who has waited longest. */
  #next(): void {
    const [begin] = this.#waiting
    if (begin === undefined) {
      this.#free++
      return
    }
    this.#waiting.delete(begin)
    begin()
  }
}

/** So many at once of each, as of a server or of an address. */
export class SlotsOfEach {
  readonly #places = new Map<string, { readonly slots: Slots; users: number }>()

  constructor(private readonly size: number) {}

  /** As `Slots.run`. */
  async run<T>(whose: string, task: () => Promise<T>, signal: AbortSignal): Promise<T> {
    const place = this.#places.get(whose) ?? { slots: new Slots(this.size), users: 0 }
    this.#places.set(whose, place)
    place.users++
    try {
      return await place.slots.run(task, signal)
    } finally {
      if (--place.users === 0) this.#places.delete(whose)
    }
  }
}
