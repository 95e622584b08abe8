import { Command, InvalidArgumentError } from 'commander'
import { parseExpiry } from './expiry.js'
import { version } from './version.js'

/**
 * `hearth` serves; the other commands work beside a running server and without one. Each is loaded when it is asked for:
 * the server with all its endpoints takes a while.
 */
export function commandLine(): Command {
  const program = new Command('hearth')
    .description(
      'A Matrix homeserver. Without a command it serves, configured by the environment and .env (.env.example).',
    )
    .version(version())
    .option('--signing-key-rotated', 'accept another signing key than the recorded one, once')
    .allowExcessArguments()
    .action(async (options, { args: [unknown] }: Command) => {
      if (unknown !== undefined) program.error(unknownCommand(unknown, program))
      await (await import('./serve.js')).serve(options)
    })

  const user = program.command('user').description('users of this server')
  user
    .command('add <name>')
    .description('make an account; asks for the password, or reads it as one line from standard input')
    .option('--admin', 'may administer this server')
    .action(async (name, options) => (await import('./user-add.js')).addUser(name, options))

  const token = program.command('token').description('registration tokens, for REGISTRATION=token')
  token
    .command('add')
    .description('make a registration token and print it')
    .option('--uses <number>', 'how many accounts it is good for (default: any number)', parseUses)
    .option(
      '--expires <when>',
      'how long it is good, as 30m, 12h, 7d or a date like 2027-01-31 (default: for ever)',
      parseWhen,
    )
    .action(async (options) => (await import('./token-add.js')).addToken(options))

  const federation = program.command('federation').description('sending to other servers')
  federation
    .command('status [server]')
    .description('servers that something waits for, or that fail; those furthest behind come first')
    .option('--all', 'also servers that have everything')
    .option('--json', 'as JSON, for scripts')
    .action(async (server, options) => (await import('./federation.js')).federationStatus(server, options))
  federation
    .command('reset <server>')
    .description('try a server that fails again at once')
    .option('--forget', 'give up what waits for it, for a server that is gone for good')
    .action(async (server, options) => (await import('./federation.js')).resetFederation(server, options))

  program
    .command('doctor')
    .description('what other servers see of this one, and what to do about it; ends with 1 when they cannot reach it')
    .option('--json', 'as JSON, for scripts')
    .action(async (options) => (await import('./doctor.js')).doctor(options))
  return program
}

const unknownCommand = (name: string, { commands }: Command): string =>
  `error: unknown command '${name}'; there are ${commands.map((command) => command.name()).join(', ')} (see --help)`

function parseUses(text: string): number {
  const uses = Number(text)
  if (!/^\d+$/.test(text) || uses < 1 || uses > 2_147_483_647)
    throw new InvalidArgumentError('It is a number from 1 on.')
  return uses
}

function parseWhen(text: string): number {
  const when = parseExpiry(text, Date.now())
  if (when === undefined) throw new InvalidArgumentError('It is a time to come, as 30m, 12h, 7d or 2027-01-31.')
  return when
}
