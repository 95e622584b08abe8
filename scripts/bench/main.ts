/** `npm run bench`: measures Matrix homeservers on this machine over the plain client-server API. See README.md beside this file. */

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { run, type RunOptions } from './run.js'
import type { Scenario } from './scenario.js'
import { fanOut, type FanOutOptions } from './scenarios/fan-out.js'
import { federatedJoin, type FederatedJoinOptions } from './scenarios/federated-join.js'
import { federationIn, type FederationInOptions } from './scenarios/federation-in.js'
import { federationOut, type FederationOutOptions } from './scenarios/federation-out.js'
import { idle, type IdleOptions } from './scenarios/idle.js'
import { inbound, type InboundOptions } from './scenarios/inbound.js'
import { initialSync, type InitialSyncOptions } from './scenarios/initial-sync.js'
import { joinStorm, type JoinStormOptions } from './scenarios/join-storm.js'
import { largeRoomsScenario, type LargeRoomsOptions } from './scenarios/large-rooms.js'
import { send, type SendOptions } from './scenarios/send.js'
import { UsageError } from './target.js'

/** A whole number from `least` to `most`. */
function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text) && value >= least && value <= most) return value
    throw new InvalidArgumentError(`a whole number from ${least} to ${most} is needed`)
  }
}

function wholeNumbers(text: string): number[] {
  return text.split(',').map(wholeNumber(1, 100_000))
}

const collect = (value: string, values: readonly string[]) => [...values, value]
const number = (flag: string, description: string, standard: number, least: number, most: number) =>
  new Option(flag, description).default(standard).argParser(wholeNumber(least, most))

const perTarget = `
A --pid, --database-url or --shared-secret belongs to the target it names ("label=value"); without a name, to the first
target that has none yet, in the order given. One --shared-secret without a name serves all targets.

  npm run bench -- send --target hearth=http://localhost:8008 --target synapse=http://localhost:8108 \\
    --pid hearth=1234 --pid synapse=5678 --database-url 'hearth=postgres://…' --shared-secret s3cret --floor

Targets and databases must be on this machine (loopback or unix socket). Switch the servers' rate limits off.`

function scenarioCommand<Options extends object>(scenario: Scenario<Options>, description: string): Command {
  return new Command(scenario.name)
    .description(description)
    .option('--target <[label=]url>', 'a homeserver; may be given several times', collect, [])
    .option('--pid <[label=]pid>', "a target's process: its memory and CPU time are read", collect, [])
    .option('--database-url <[label=]url>', "a target's Postgres: its growth is read", collect, [])
    .option('--shared-secret <[label=]secret>', 'register with it; otherwise by open registration', collect, [])
    .option('--room-version <version>', 'of the rooms made, the same for all targets', '12')
    .addOption(number('--rounds <n>', 'rounds per target, of which the medians are shown', 5, 1, 100))
    .addOption(number('--seconds <n>', 'length of a round', 5, 1, 600))
    .addOption(number('--max-minutes <n>', 'the whole run is stopped then', 60, 1, 600))
    .option('--json', 'print all rounds as JSON', false)
    .addHelpText('after', perTarget)
    .action((options: Options & RunOptions) => run(scenario, options))
}

const program = new Command('bench')
  .description('A load generator for Matrix homeservers on this machine')
  .addCommand(
    scenarioCommand<SendOptions>(send, 'clients send messages while all of them sync')
      .addOption(number('--clients <n>', 'senders, each with one request under way', 64, 1, 5000))
      .addOption(number('--rooms <n>', 'rooms they are spread over', 16, 1, 5000))
      .option('--members <n,…>', 'fill the rooms up to n members; several sizes are compared', wholeNumbers, [])
      .addOption(number('--body-bytes <n>', 'length of the message text', 400, 1, 30_000))
      .option('--no-sync', 'the senders do not sync')
      .option('--floor', 'also measure what the machine allows (needs a --database-url)', false),
  )
  .addCommand(
    scenarioCommand<InboundOptions>(inbound, 'events of other servers, straight into rooms; needs no --target')
      .addOption(number('--rooms <n>', 'rooms they are spread over, beside one alone', 100, 1, 5000))
      .addOption(number('--events <n>', 'events of a round', 5000, 1, 1_000_000)),
  )
  .addCommand(
    scenarioCommand<FederationInOptions>(federationIn, 'transactions of other servers; starts a Hearth of its own')
      .addOption(number('--peers <n>', 'servers that send, each with one request under way', 8, 1, 200))
      .addOption(number('--rooms <n>', 'rooms of each of them', 4, 1, 1000))
      .addOption(number('--events <n>', 'events of a round', 5000, 1, 1_000_000))
      .option('--poisoned', 'at a pace, alone and beside a room nobody can go on with', false)
      .addOption(number('--pace <n>', 'PDUs a second of all of them, with --poisoned', 200, 1, 2_000)),
  )
  .addCommand(
    scenarioCommand<FederationOutOptions>(federationOut, 'one event to many servers; starts a Hearth of its own')
      .addOption(number('--servers <n>', 'servers with a member in the room', 1000, 2, 10_000))
      .addOption(number('--dead <n>', 'servers that do not answer, beside the others of --servers', 900, 1, 9_999))
      .addOption(number('--silent <n>', 'of these, how many take a connection and say nothing', 0, 0, 9_999))
      .addOption(number('--log-events <n>', 'events of other rooms, among which one is looked for', 0, 0, 10_000_000)),
  )
  .addCommand(
    scenarioCommand<FederatedJoinOptions>(federatedJoin, 'a large room is joined by another Hearth; starts two')
      .addOption(number('--members <n>', 'members of the room', 10_000, 2, 100_000))
      .addOption(
        number('--messages <n>', 'messages of a round from a client of one to a client of the other', 50, 1, 1000),
      ),
  )
  .addCommand(
    scenarioCommand<FanOutOptions>(fanOut, 'send until all members have it from /sync').addOption(
      number('--members <n>', 'members of the room, all syncing', 100, 1, 10_000),
    ),
  )
  .addCommand(
    scenarioCommand<InitialSyncOptions>(initialSync, 'users who are in many rooms sync for the first time')
      .addOption(number('--users <n>', 'users who sync', 8, 1, 1000))
      .addOption(number('--rooms <n>', 'rooms that all of them are in', 20, 1, 5000))
      .addOption(number('--members <n>', 'members of each room, the users among them', 20, 1, 10_000))
      .addOption(number('--messages <n>', 'messages in each room', 20, 0, 1000))
      .addOption(number('--concurrency <n>', 'syncs under way at a time', 1, 1, 100)),
  )
  .addCommand(
    scenarioCommand<IdleOptions>(idle, 'long polls are held; memory of the server (needs --pid)')
      .addOption(number('--polls <n>', 'long polls held, each over its own connection', 1000, 1, 25_000))
      .addOption(number('--accounts <n>', 'at most so many accounts; the polls share them', 25_000, 1, 25_000))
      .addOption(number('--room-size <n>', 'the accounts are in rooms of so many members (0: in none)', 10, 0, 1000)),
  )
  .addCommand(
    scenarioCommand<JoinStormOptions>(joinStorm, 'accounts join one room; growth of the database')
      .addOption(number('--joins <n>', 'accounts that join', 1000, 2, 100_000))
      .addOption(number('--concurrency <n>', 'joins under way at a time', 8, 1, 256))
      .option('--verbose', 'also the growth of each table', false),
  )
  .addCommand(
    scenarioCommand<LargeRoomsOptions>(largeRoomsScenario, 'many large rooms are in use; memory of a Hearth')
      .addOption(number('--rooms <n>', 'rooms, written into the database where they are missing', 100, 1, 10_000))
      .addOption(number('--members <n>', 'members of each', 10_000, 2, 100_000))
      .addOption(number('--users <n>', 'accounts that join all of the rooms', 2, 1, 100))
      .addOption(number('--lists <n>', 'rooms whose members are read in a round', 10, 0, 10_000))
      .addOption(number('--cache-mb <n>', 'CACHE_MB of the server', 256, 1, 1_000_000))
      .option('--seed', 'write the rooms and do no more', false),
  )

try {
  // Commands that are added whole do not take this over from the program.
  for (const command of [program, ...program.commands]) command.exitOverride()
  await program.parseAsync()
} catch (cause) {
  // It has said so already; help that was asked for is no mistake.
  if (cause instanceof CommanderError) process.exit(cause.exitCode === 0 ? 0 : 2)
  console.error(cause instanceof Error ? cause.message : cause)
  // Servers and connections of a scenario that failed half-way would keep the process.
  process.exit(cause instanceof UsageError ? 2 : 1)
}
