import { describe, expect, it } from '@jest/globals'
import { commandLine } from '../../src/command-line/command-line.js'

describe('the command line', () => {
  it('names the commands there are when it is given another', async () => {
    const program = commandLine()
      .exitOverride()
      .configureOutput({ writeErr: () => {} })
    await expect(program.parseAsync(['users', 'add'], { from: 'user' })).rejects.toThrow(
      "unknown command 'users'; there are user, token, federation, doctor",
    )
  })
})
