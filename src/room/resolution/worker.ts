/**
 * Where a resolution is worked out: here when it is short, otherwise on a thread of its own, so that other rooms go on. The
 * thread is started when it is first needed and lives as long as the engine. It has one resolution at a time, and each may
 * take so many steps: others wait for it, and for no longer.
 */
import { extname } from 'node:path'
import { URL } from 'node:url'
import { Worker } from 'node:worker_threads'
import { isObject, own } from '../../protocol/json.js'
import type { EventNumber } from '../../protocol/numbers.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import {
  resolveState,
  stateMapKey,
  TooManySteps,
  type ResolutionEvent,
  type ResolvedState,
} from '../../protocol/state-resolution/index.js'
import { pause } from '../../store/pauses.js'
import type { StoredEvent } from '../../store/stored-event.js'
import { ResolutionTooCostly } from './limits.js'

/** So many events of the full conflicted set, and so much text of events, are some 10 ms of work, without signatures. */
const SHORT = { events: 300, characters: 600_000 }
/** Characters handed to the thread at once: copying them holds up everybody, for some 4 ms. */
const PART = 500_000

/** `ConflictedSets` as plain data. */
export interface PlainSets {
  /** By `stateMapKey`. */
  readonly unconflicted: ReadonlyMap<string, EventNumber>
  readonly conflicted: readonly EventNumber[]
  readonly authDifference: ReadonlySet<EventNumber>
  readonly conflictedSubgraph: ReadonlySet<EventNumber>
  readonly create: EventNumber | undefined
}

/** As text: numbers as their sender wrote them do not survive on the way as objects. */
export type EventText = Omit<ResolutionEvent, 'event'> & { readonly eventId: string; readonly text: string }

/** What the thread is sent: the events in parts, then the sets, which it answers. */
export type Message =
  | { readonly version: string; readonly events: readonly EventText[] }
  | { readonly version: string; readonly sets: PlainSets; readonly steps: number }

export type Answer =
  { readonly resolved: ResolvedState } | { readonly tooCostly: string } | { readonly failure: string }

export class ResolutionWorker {
  private thread: Worker | undefined
  private last: Promise<unknown> = Promise.resolve()

  /** @throws ResolutionTooCostly when it takes more than so many steps. */
  async resolve(
    rules: RoomVersionRules,
    sets: PlainSets,
    events: ReadonlyMap<EventNumber, StoredEvent>,
    steps: number,
  ): Promise<ResolvedState> {
    if (isShort(sets, events)) return resolveHere(rules, sets, events, steps)
    const turn = this.last.then(() => this.resolveThere(rules, sets, events, steps))
    this.last = turn.catch(() => undefined)
    return turn
  }

  private async resolveThere(
    { version }: RoomVersionRules,
    sets: PlainSets,
    events: ReadonlyMap<EventNumber, StoredEvent>,
    steps: number,
  ): Promise<ResolvedState> {
    await pause()
    const thread = (this.thread ??= this.start())
    const answered = answerOf(thread)
    // It may reject while parts are being sent.
    answered.catch(() => undefined)
    for (const part of partsOf(events)) {
      await pause()
      thread.postMessage({ version, events: part } satisfies Message)
    }
    await pause()
    thread.postMessage({ version, sets, steps } satisfies Message)
    const answer = await answered
    if ('resolved' in answer) return answer.resolved
    if ('tooCostly' in answer) throw new ResolutionTooCostly(answer.tooCostly)
    throw new Error(`a resolution failed: ${answer.failure}`)
  }

  private start(): Worker {
    const thread = new Worker(new URL(`./thread${extname(import.meta.url)}`, import.meta.url))
    thread.unref()
    thread.on('error', () => undefined)
    thread.on('exit', () => {
      if (this.thread === thread) this.thread = undefined
    })
    return thread
  }

  async close(): Promise<void> {
    await this.thread?.terminate()
  }
}

/** Rejects when the thread ends. */
function answerOf(thread: Worker): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const settle = () => void thread.off('message', answered).off('error', failed).off('exit', failed)
    const answered = (answer: Answer) => {
      settle()
      resolve(answer)
    }
    const failed = (cause: unknown) => {
      settle()
      reject(new Error('the thread of resolutions ended', { cause }))
    }
    thread.on('message', answered).on('error', failed).on('exit', failed)
  })
}

function* partsOf(events: ReadonlyMap<EventNumber, StoredEvent>): Generator<EventText[]> {
  let part: EventText[] = []
  let characters = 0
  for (const { number, event, text, authEvents, fate } of events.values()) {
    part.push({ number, eventId: event.eventId, text, authEvents, rejected: fate === 'rejected' })
    characters += text.length
    if (characters < PART) continue
    yield part
    part = []
    characters = 0
  }
  yield part
}

function isShort(
  { conflicted, authDifference, conflictedSubgraph }: PlainSets,
  events: ReadonlyMap<EventNumber, StoredEvent>,
): boolean {
  if (conflicted.length + authDifference.size + conflictedSubgraph.size >= SHORT.events) return false
  const full = [...conflicted, ...authDifference, ...conflictedSubgraph]
  if (full.some((number) => hasSignaturesToCheck(events.get(number)!))) return false
  let characters = 0
  for (const { text } of events.values()) characters += text.length
  return characters < SHORT.characters
}

const hasSignaturesToCheck = ({ event: { type, content } }: StoredEvent): boolean =>
  type === 'm.room.member' && isObject(own(content, 'third_party_invite'))

function resolveHere(
  rules: RoomVersionRules,
  sets: PlainSets,
  events: ReadonlyMap<EventNumber, StoredEvent>,
  steps: number,
): ResolvedState {
  const unconflicted = (type: string, stateKey: string) => sets.unconflicted.get(stateMapKey(type, stateKey))
  const event = (number: EventNumber): ResolutionEvent => {
    const { event, authEvents, fate, text } = events.get(number)!
    return { number, event, authEvents, rejected: fate === 'rejected', characters: text.length }
  }
  try {
    return resolveState(rules, { ...sets, unconflicted }, event, steps)
  } catch (cause) {
    if (cause instanceof TooManySteps) throw new ResolutionTooCostly(cause.message)
    throw cause
  }
}
