#!/usr/bin/env node
import { commandLine } from './command-line/command-line.js'
import { explain } from './command-line/explain.js'

try {
  await commandLine().parseAsync()
} catch (error) {
  process.stderr.write(`hearth: ${explain(error)}\n`)
  process.exitCode = 1
}
