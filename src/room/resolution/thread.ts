/** Runs on a worker thread: resolves what it is sent, one after the other. */
import { parentPort } from 'node:worker_threads'
import type { JsonObject } from '../../protocol/json.js'
import type { EventNumber } from '../../protocol/numbers.js'
import { roomEventOf } from '../../protocol/pdu.js'
import { rulesOf, type RoomVersionRules } from '../../protocol/room-versions.js'
import { resolveState, stateMapKey, TooManySteps, type ResolutionEvent } from '../../protocol/state-resolution/index.js'
import { parseExactJson } from '../../protocol/strict-json.js'
import type { Answer, EventText, Message, PlainSets } from './worker.js'

/** Of the resolution that is being sent. */
let events = new Map<EventNumber, ResolutionEvent>()

parentPort?.on('message', (message: Message) => {
  const rules = rulesOf(message.version)!
  if ('events' in message) for (const event of message.events) events.set(event.number, parsed(rules, event))
  else parentPort?.postMessage(resolve(rules, message.sets, message.steps))
})

function parsed(rules: RoomVersionRules, { number, eventId, text, authEvents, rejected }: EventText): ResolutionEvent {
  const event = roomEventOf(rules, parseExactJson(text) as JsonObject, eventId)
  return { number, event, authEvents, rejected, characters: text.length }
}

function resolve(rules: RoomVersionRules, sets: PlainSets, steps: number): Answer {
  const all = events
  events = new Map()
  const unconflicted = (type: string, stateKey: string) => sets.unconflicted.get(stateMapKey(type, stateKey))
  try {
    return { resolved: resolveState(rules, { ...sets, unconflicted }, (number) => all.get(number)!, steps) }
  } catch (cause) {
    if (cause instanceof TooManySteps) return { tooCostly: cause.message }
    return { failure: cause instanceof Error ? (cause.stack ?? cause.message) : String(cause) }
  }
}
