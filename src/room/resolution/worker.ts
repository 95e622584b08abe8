/**
 * Where a resolution is worked out: here when it is short, otherwise on a thread of its own, so that other rooms go on. The
 * thread is started when it is first needed and lives as long as the engine.
 */
import { extname } from 'node:path'
import { URL } from 'node:url'
import { Worker } from 'node:worker_threads'
import type { EventNumber } from '../../protocol/numbers.js'
import type { RoomVersionRules } from '../../protocol/room-versions.js'
import {
  resolveState,
  stateMapKey,
  type ResolutionEvent,
  type ResolvedState,
} from '../../protocol/state-resolution/index.js'
import type { StoredEvent } from '../../store/stored-event.js'

/** So many events of the full conflicted set are some 10 ms of work (scripts/resolution-cost). */
const SHORT = 300

/** `ConflictedSets` as plain data. */
export interface PlainSets {
  /** By `stateMapKey`. */
  readonly unconflicted: ReadonlyMap<string, EventNumber>
  readonly conflicted: readonly EventNumber[]
  readonly authDifference: ReadonlySet<EventNumber>
  readonly conflictedSubgraph: ReadonlySet<EventNumber>
}

export interface Task {
  readonly id: number
  readonly version: string
  readonly sets: PlainSets
  readonly events: readonly (Omit<ResolutionEvent, 'event'> & { readonly eventId: string; readonly text: string })[]
}

export type TaskResult =
  { readonly id: number; readonly resolved: ResolvedState } | { readonly id: number; readonly failure: string }

interface Waiting {
  readonly resolve: (resolved: ResolvedState) => void
  readonly reject: (cause: Error) => void
}

export class ResolutionWorker {
  private thread: Worker | undefined
  private readonly waiting = new Map<number, Waiting>()
  private lastId = 0

  resolve(
    rules: RoomVersionRules,
    sets: PlainSets,
    events: ReadonlyMap<EventNumber, StoredEvent>,
  ): Promise<ResolvedState> {
    const size = sets.conflicted.length + sets.authDifference.size + sets.conflictedSubgraph.size
    return size < SHORT ? Promise.resolve(resolveHere(rules, sets, events)) : this.resolveThere(rules, sets, events)
  }

  private resolveThere(
    { version }: RoomVersionRules,
    sets: PlainSets,
    events: ReadonlyMap<EventNumber, StoredEvent>,
  ): Promise<ResolvedState> {
    const id = ++this.lastId
    // As text: numbers as their sender wrote them do not survive on the way as objects.
    const plain = Array.from(events.values(), ({ number, event: { eventId }, text, authEvents, fate }) => ({
      number,
      eventId,
      text,
      authEvents,
      rejected: fate === 'rejected',
    }))
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject })
      this.thread ??= this.start()
      this.thread.postMessage({ id, version, sets, events: plain } satisfies Task)
    })
  }

  private start(): Worker {
    const thread = new Worker(new URL(`./thread${extname(import.meta.url)}`, import.meta.url))
    thread.unref()
    thread.on('message', (result: TaskResult) => {
      const waiting = this.waiting.get(result.id)
      this.waiting.delete(result.id)
      if ('resolved' in result) waiting?.resolve(result.resolved)
      else waiting?.reject(new Error(`a resolution failed: ${result.failure}`))
    })
    const ended = (cause: Error) => {
      if (this.thread === thread) this.thread = undefined
      for (const { reject } of this.waiting.values()) reject(cause)
      this.waiting.clear()
    }
    thread.on('error', ended)
    thread.on('exit', () => ended(new Error('the thread of resolutions ended')))
    return thread
  }

  async close(): Promise<void> {
    await this.thread?.terminate()
  }
}

function resolveHere(
  rules: RoomVersionRules,
  sets: PlainSets,
  events: ReadonlyMap<EventNumber, StoredEvent>,
): ResolvedState {
  const unconflicted = (type: string, stateKey: string) => sets.unconflicted.get(stateMapKey(type, stateKey))
  return resolveState(rules, { ...sets, unconflicted }, (number) => {
    const { event, authEvents, fate } = events.get(number)!
    return { number, event, authEvents, rejected: fate === 'rejected' }
  })
}
