/** What Linux says of processes: memory and CPU time from /proc. Figures that cannot be read are absent. */

import { readFileSync } from 'node:fs'

/** Bytes. The proportional set size counts a page shared by n processes as 1/n of a page. */
export interface Memory {
  readonly rss?: number
  readonly pss?: number
}

export function memoryOf(pid: number | undefined): Memory {
  if (pid === undefined) return {}
  const rollup = read(`/proc/${pid}/smaps_rollup`)
  const rss = kilobytes(rollup, 'Rss') ?? kilobytes(read(`/proc/${pid}/status`), 'VmRSS')
  return { rss, pss: kilobytes(rollup, 'Pss') }
}

function kilobytes(text: string, field: string): number | undefined {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(text)
  return match === null ? undefined : Number(match[1]) * 1024
}

/** Clock ticks per second in /proc/PID/stat: fixed at 100 in what the kernel shows to user space. */
const TICKS = 100

/** Seconds of CPU time the process has used, user and system, all threads. */
export function cpuSecondsOf(pid: number | undefined): number | undefined {
  if (pid === undefined) return undefined
  const stat = read(`/proc/${pid}/stat`)
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = Number(fields[11]) + Number(fields[12])
  return Number.isNaN(ticks) ? undefined : ticks / TICKS
}

/** How many files, sockets included, the process may have open. */
export function openFilesLimit(pid: number | 'self'): number | undefined {
  const match = /^Max open files\s+(\d+)/m.exec(read(`/proc/${pid}/limits`))
  return match === null ? undefined : Number(match[1])
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return '' // another system, or a process of another user: the figure is then absent
  }
}
