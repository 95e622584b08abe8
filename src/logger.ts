import pino from 'pino'

/** What every part of the server logs to: fields first, then a sentence. Contents of events and secrets are never logged. */
export type Logger = pino.Logger

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent'
export type LogFormat = 'json' | 'pretty'

/** Logs to `write`, a line at a time; by default to standard output. */
export function createLogger(level: LogLevel, format: LogFormat, write: (line: string) => void = toStdout): Logger {
  const options: pino.LoggerOptions = { level, base: undefined, timestamp: pino.stdTimeFunctions.isoTime }
  return pino(options, { write: format === 'json' ? write : (line) => write(prettyLine(line)) })
}

/** A logger that says nothing. */
export const silentLogger: Logger = pino({ level: 'silent' })

const toStdout = (line: string): void => void process.stdout.write(line)

interface LogLine {
  level: number
  time: string
  msg?: string
  err?: { message?: string; stack?: string }
  [field: string]: unknown
}

/** `12:03:04.123 warn  message  field=value`, the stack of an error on lines of its own. */
export function prettyLine(json: string): string {
  const { level, time, msg, err, ...fields } = JSON.parse(json) as LogLine
  const name = pino.levels.labels[level] ?? String(level)
  const rest = Object.entries(fields).map(([field, value]) => `  ${field}=${shown(value)}`)
  const stack = err === undefined ? '' : `\n${err.stack ?? err.message ?? ''}`
  return `${time.slice(11, 23)} ${name.padEnd(5)} ${msg ?? ''}${rest.join('')}${stack}\n`
}

/** Control characters of what peers send would reach the terminal; JSON escapes them. */
function shown(value: unknown): string {
  return typeof value === 'string' && /^[\w@:.!#$/+-]+$/.test(value) ? value : JSON.stringify(value)
}
