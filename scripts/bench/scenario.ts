/** What a scenario file provides, and what it is given. */

import type { Population } from './population.js'
import type { Progress } from './progress.js'
import type { Measured, Subject } from './rounds.js'
import type { Figures } from './stats.js'
import type { Target } from './target.js'

/** The options that all scenarios share. */
export interface CommonOptions {
  readonly rounds: number
  readonly seconds: number
  readonly roomVersion: string
}

export interface Bench<Options> {
  readonly options: Options & CommonOptions
  readonly targets: readonly Target[]
  readonly progress: Progress
  /** Aborted when the run is out of time or was interrupted. */
  readonly signal: AbortSignal
  populationOf(target: Target): Population
}

export interface Column {
  /** Key of the figure, or of a derived figure. */
  readonly key: string
  readonly title: string
  readonly digits: number
}

export interface Scenario<Options> {
  readonly name: string
  readonly columns: readonly Column[]
  /** It measures the engine and no homeserver. */
  readonly needsNoTarget?: boolean
  prepare(bench: Bench<Options>): Promise<Subject[]>
  /** Figures that compare subjects, added to the medians; by default none. `base` is the first subject. */
  compare?(measured: Measured, all: readonly Measured[]): Figures
  /** A second table below the first, as rows of cells with a heading; empty when there is nothing to say. */
  details?(subject: { readonly name: string; readonly medians: Figures }): readonly (readonly string[])[]
}
