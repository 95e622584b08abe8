import { describe, expect, it } from '@jest/globals'
import { createLogger } from '../src/logger.js'

function linesOf(format: 'json' | 'pretty', log: (logger: ReturnType<typeof createLogger>) => void): string[] {
  const lines: string[] = []
  log(createLogger('info', format, (line) => lines.push(line)))
  return lines
}

describe('the log', () => {
  it('for machines is a JSON object per line', () => {
    const [line = ''] = linesOf('json', (log) => log.info({ rooms: 3 }, 'ready'))
    expect(JSON.parse(line)).toMatchObject({ level: 30, rooms: 3, msg: 'ready' })
    expect(line.endsWith('\n')).toBe(true)
  })

  it('for people is a line of words', () => {
    const [line] = linesOf('pretty', (log) => log.warn({ destination: 'example.org', note: 'two words' }, 'no answer'))
    expect(line).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}no answer {2}destination=example\.org {2}note="two words"\n$/)
  })

  it('keeps control characters away from the terminal', () => {
    const [line] = linesOf('pretty', (log) => log.info({ name: '\u001b[31mred\n' }, 'a name'))
    expect(line).not.toContain('\u001b')
    expect(line?.indexOf('\n')).toBe((line?.length ?? 0) - 1)
  })

  it('shows the stack of an error', () => {
    const [line] = linesOf('pretty', (log) => log.error({ err: new Error('broken') }, 'a fault'))
    expect(line).toContain('Error: broken\n    at ')
  })

  it('leaves out what is below its level', () => {
    expect(linesOf('json', (log) => log.debug('detail'))).toEqual([])
  })
})
