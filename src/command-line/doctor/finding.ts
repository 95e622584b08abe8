/** One thing that was looked at. */
export interface Finding {
  /** What it is about, in a word or two. */
  readonly about: string
  /**
   * `wrong`: other servers cannot reach this one, or would not believe it. `doubt`: they can, and something is probably
   * not meant. `skipped`: there was nothing to look at, or no way to.
   */
  readonly verdict: 'good' | 'doubt' | 'wrong' | 'skipped'
  /** What was seen. */
  readonly text: string
  /** What to do about it. */
  readonly advice?: string
}

export const good = (about: string, text: string): Finding => ({ about, verdict: 'good', text })
export const skipped = (about: string, text: string): Finding => ({ about, verdict: 'skipped', text })
export const doubt = (about: string, text: string, advice: string): Finding => ({
  about,
  verdict: 'doubt',
  text,
  advice,
})
export const wrong = (about: string, text: string, advice: string): Finding => ({
  about,
  verdict: 'wrong',
  text,
  advice,
})

export const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
