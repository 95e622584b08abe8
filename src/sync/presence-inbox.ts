/** The presence of a user changed. */
export interface PresenceChange {
  readonly userId: string
  /** In the order of what is ephemeral. */
  readonly count: number
}

/** Changes of others' presence that a user, or those in a room, may hear of. */
export class PresenceInbox {
  private changes: PresenceChange[] = []

  /** `from`: changes after this number are here. `max`: a client that was away for more is told by a look at everybody. */
  constructor(
    public from: number,
    private readonly max: number,
  ) {}

  /** The number of the newest change. */
  get newest(): number {
    return this.changes.at(-1)?.count ?? 0
  }

  put(change: PresenceChange): void {
    this.changes.push(change)
    if (this.changes.length > this.max) this.from = this.changes.splice(0, this.max / 2).at(-1)!.count
  }

  /** Users whose presence changed after a number, which is not before `from`. */
  since(count: number): string[] {
    const users = new Set<string>()
    for (let i = this.changes.length - 1; i >= 0 && this.changes[i]!.count > count; i--) {
      users.add(this.changes[i]!.userId)
    }
    return [...users].reverse()
  }
}
