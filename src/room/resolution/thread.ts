/** Runs on a worker thread: resolves what it is sent, one after the other. */
import { parentPort } from 'node:worker_threads'
import type { JsonObject } from '../../protocol/json.js'
import type { EventNumber } from '../../protocol/numbers.js'
import { roomEventOf } from '../../protocol/pdu.js'
import { rulesOf } from '../../protocol/room-versions.js'
import { resolveState, stateMapKey, type ResolutionEvent } from '../../protocol/state-resolution/index.js'
import { parseExactJson } from '../../protocol/strict-json.js'
import type { Task, TaskResult } from './worker.js'

parentPort?.on('message', (task: Task) => parentPort!.postMessage(resultOf(task)))

function resultOf({ id, ...task }: Task): TaskResult {
  try {
    return { id, resolved: resolve(task) }
  } catch (cause) {
    return { id, failure: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) }
  }
}

function resolve({ version, sets, events }: Omit<Task, 'id'>): ReadonlyMap<string, EventNumber> {
  const rules = rulesOf(version)!
  const parsed = new Map<EventNumber, ResolutionEvent>()
  for (const { number, eventId, text, authEvents, rejected } of events) {
    const event = roomEventOf(rules, parseExactJson(text) as JsonObject, eventId)
    parsed.set(number, { number, event, authEvents, rejected })
  }
  const unconflicted = (type: string, stateKey: string) => sets.unconflicted.get(stateMapKey(type, stateKey))
  return resolveState(rules, { ...sets, unconflicted }, (number) => parsed.get(number)!)
}
