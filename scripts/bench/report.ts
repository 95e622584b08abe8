/** What a run prints: a table for people, an object for machines. */

import { availableParallelism, loadavg } from 'node:os'
import type { Measured } from './rounds.js'
import type { Column, Scenario } from './scenario.js'
import { medians, type Figures } from './stats.js'

export interface Report {
  readonly scenario: string
  readonly startedAt: string
  readonly machine: { readonly cpus: number; readonly node: string; readonly load: readonly number[] }
  readonly options: object
  readonly subjects: readonly {
    readonly name: string
    readonly medians: Figures
    readonly rounds: readonly Figures[]
    readonly errors: number
    readonly errorSamples: readonly { sample: string; count: number }[]
  }[]
}

export function report<Options extends object>(
  scenario: Scenario<Options>,
  options: object,
  startedAt: Date,
  measured: readonly Measured[],
): Report {
  return {
    scenario: scenario.name,
    startedAt: startedAt.toISOString(),
    machine: { cpus: availableParallelism(), node: process.version, load: loadavg() },
    options,
    subjects: measured.map((one) => ({
      name: one.name,
      medians: { ...medians(one.rounds), ...scenario.compare?.(one, measured) },
      rounds: one.rounds,
      errors: one.errors.count,
      errorSamples: one.errors.samples(),
    })),
  }
}

const loadColumn: Column = { key: 'load', title: 'load', digits: 1 }

/** The medians as a table, then the errors, if there were any. Columns that no subject has are left out. */
export function humanReport(scenario: Pick<Scenario<never>, 'name' | 'columns' | 'details'>, run: Report): string {
  const { subjects, machine } = run
  const shown = [...scenario.columns, loadColumn].filter(({ key }) =>
    subjects.some(({ medians }) => medians[key] !== undefined),
  )
  const rows = [
    ['', ...shown.map(({ title }) => title), 'errors'],
    ...subjects.map((one) => [
      one.name,
      ...shown.map(({ key, digits }) => formatFigure(one.medians[key], digits)),
      String(one.errors),
    ]),
  ]
  const rounds = subjects[0]?.rounds.length ?? 0
  const caption = `${scenario.name}: ${rounds === 1 ? 'one round' : `medians of ${rounds} rounds`}, ${machine.cpus} cores`
  const details = subjects.map((one) => scenario.details?.(one) ?? []).filter((lines) => lines.length > 0)
  return [
    caption,
    ...table(rows),
    ...details.flatMap((lines) => ['', ...table(lines)]),
    ...subjects.flatMap(errorLines),
  ].join('\n')
}

/** `12,345.6`; a dash for what was not measured. */
export function formatFigure(value: number | undefined, digits: number): string {
  if (value === undefined || Number.isNaN(value)) return '–'
  return value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** Lines with the first column to the left and the others to the right. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  ')
      .trimEnd(),
  )
}

function errorLines({ name, errors, errorSamples }: Report['subjects'][number]): string[] {
  if (errors === 0) return []
  const samples = errorSamples.slice(0, 5).map(({ sample, count }) => `  ${count} × ${sample}`)
  return ['', `${name}: ${errors} errors`, ...samples]
}
