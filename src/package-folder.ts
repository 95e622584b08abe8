import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The folder of package.json, whether this file runs from `src/` or, compiled, from `dist/src/`. */
export const packageFolder = findUp(import.meta.dirname)

function findUp(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder
  if (dirname(folder) === folder) throw new Error(`no package.json above ${import.meta.dirname}`)
  return findUp(dirname(folder))
}
