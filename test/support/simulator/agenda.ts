/** What is to happen, by simulated time; of what is due at one time, what was planned first comes first. */
export class Agenda<T> {
  private readonly planned: { at: number; order: number; item: T }[] = []
  private order = 0
  now = 0

  get isEmpty(): boolean {
    return this.planned.length === 0
  }

  plan(delay: number, item: T): void {
    const entry = { at: this.now + delay, order: this.order++, item }
    let low = 0
    let high = this.planned.length
    // The earliest is last, to be taken from the end.
    while (low < high) {
      const middle = (low + high) >> 1
      if (isBefore(this.planned[middle]!, entry)) high = middle
      else low = middle + 1
    }
    this.planned.splice(low, 0, entry)
  }

  next(): T | undefined {
    const entry = this.planned.pop()
    if (entry === undefined) return undefined
    this.now = entry.at
    return entry.item
  }
}

const isBefore = (left: { at: number; order: number }, right: { at: number; order: number }): boolean =>
  left.at < right.at || (left.at === right.at && left.order < right.order)
