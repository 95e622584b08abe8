/**
 * Judging again what was judged while members of the room were still to come: our join gets the whole state before it,
 * and what was taken in since goes through the same checks, in the order in which it came, as if it came now. What comes
 * of it is one change: the events with their new states and fates, and the current state that becomes another at one
 * position of the log, with the memberships and the summary that follow from it.
 *
 * What was told to readers keeps its place; what is accepted only now is told now. Outliers that stand on what was judged
 * differently are judged again with it (check 4).
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { EventNumber, StateReference } from '../protocol/numbers.js'
import { reject } from '../protocol/verdict.js'
import type { Completion, NewEvent } from '../store/log-writer.js'
import { Missing } from '../store/missing.js'
import type { Fate, StoredEvent } from '../store/stored-event.js'
import { extremitiesWith, judgeEvent, missingOf, redactionsWith, type AdmitContext } from './admit-event.js'
import type { Arrival } from './arrival.js'
import type { BuildingHead } from './build-event.js'
import { changesBetween, effectsOf } from './consequences.js'

export interface Provisional {
  readonly event: StoredEvent
  /** Why the room's policy server refused it. */
  readonly policy: string | undefined
}

export interface ToJudgeAnew {
  readonly join: EventNumber
  /** The whole state before the join. */
  readonly state: readonly EventNumber[]
  /** The join among them, in the order in which they came. */
  readonly events: readonly Provisional[]
}

export interface JudgedDifferently {
  readonly eventId: string
  readonly was: Fate
  readonly is: Fate
  readonly reason: string | undefined
}

export interface JudgedAnew {
  readonly events: readonly NewEvent[]
  readonly after: BuildingHead
  readonly completion: Completion
}

/** So long nothing else of this process waits, in ms. */
const TURN = 20

/** Goes on where it was when something was missing. */
export class JudgingAnew {
  readonly differences: JudgedDifferently[] = []
  private readonly inOrder: readonly Provisional[]
  private readonly open: Set<string>
  private readonly judged = new Map<string, StoredEvent>()
  private readonly events: NewEvent[] = []
  private running: BuildingHead
  private entrance: StoredEvent | undefined
  private next = 0

  constructor(
    readonly before: BuildingHead,
    private readonly what: ToJudgeAnew,
  ) {
    this.inOrder = inOrder(what.events)
    this.open = new Set(this.inOrder.map(({ event }) => event.event.eventId))
    const { partialJoin: _partialJoin, ...head } = before.head
    this.running = { ...before, head, extremities: [] }
  }

  /** All were judged. */
  isDone = false

  /** Synchronous over what is at hand. @throws Missing, after which it is called again */
  run(outer: AdmitContext): JudgedAnew {
    for (const stored of this.judged.values()) outer.introduce(stored)
    const until = performance.now() + TURN
    for (; this.next < this.inOrder.length; this.next++) {
      if (performance.now() > until) throw new Missing(() => nextTurn())
      this.judgeOne(this.contextFor(outer, this.inOrder[this.next]!.event), this.inOrder[this.next]!)
    }
    return this.result(outer)
  }

  /** What is still to be judged is as if it had not come. */
  private contextFor(outer: AdmitContext, { number }: StoredEvent): AdmitContext {
    return {
      ...outer,
      held: (eventId) => this.judged.get(eventId) ?? (this.open.has(eventId) ? undefined : outer.held(eventId)),
      redactionsOf: () => [],
      isMissed: () => false,
      takeNumber: () => number,
      entrance: this.entrance,
    }
  }

  private judgeOne(context: AdmitContext, { event: was, policy }: Provisional): void {
    const arrival = this.arrivalOf(context, was, policy)
    const { stored: is, attention } = judgeEvent(context, this.running, arrival)
    const isTold = is.fate === 'accepted' && was.fate !== 'accepted' && is.stateBefore !== undefined
    const { position, anchor, minor, redactedBy, sentAs } = was
    const kept = isTold
      ? {}
      : { position, anchor, minor, notifyCount: was.notifyCount, highlightCount: was.highlightCount }
    const stored: StoredEvent = { ...is, ...kept, redactedBy, sentAs }
    context.introduce(stored)
    const { waitsFor, redaction } = isTold ? redactionsWith(context, arrival, stored) : nothing
    this.advance(context, arrival, stored)
    // From here on nothing is missing.
    this.judged.set(stored.event.eventId, stored)
    if (stored.number === this.what.join) this.entrance = stored
    const isOther = stored.fate !== was.fate
    if (isOther)
      this.differences.push({ eventId: stored.event.eventId, was: was.fate, is: stored.fate, reason: stored.reason })
    const isOutlier = arrival.kind === 'outlier'
    if (isOutlier && !isOther) return
    this.events.push({
      stored,
      order: isTold ? 'live' : stored.anchor === undefined ? 'unplaced' : 'placed',
      memberships: [],
      highlights: isTold ? (attention?.highlights ?? []) : [],
      redaction,
      received: {
        promoted: true,
        missingPrevEvents: isOutlier ? [] : missingOf(context, stored.event),
        waitsFor,
      },
      // It is listed with the others, for processes that have it in memory.
      provisional: isOutlier ? { settledTs: context.now } : undefined,
    })
  }

  private arrivalOf(context: AdmitContext, was: StoredEvent, policy: string | undefined): Arrival {
    const isJoin = was.number === this.what.join
    return {
      event: was.event,
      text: was.text,
      kind: was.stateBefore === undefined ? 'outlier' : isJoin ? 'entrance' : 'live',
      stateBefore: isJoin ? this.what.state : undefined,
      policy: policy === undefined ? undefined : reject(policy),
      // All others were held when it came.
      ofOtherRooms: was.event.authEvents.filter((id) => context.held(id) === undefined),
    }
  }

  private advance(context: AdmitContext, arrival: Arrival, stored: StoredEvent): void {
    if (arrival.kind === 'outlier') return
    const extremities = this.extremitiesAfter(context, arrival, stored)
    const state =
      extremities === this.running.extremities
        ? this.running.head.state
        : context.resolve(extremities.map((event) => event.stateAfter!))
    const { head } = this.running
    const { notifyCount, highlightCount } = stored
    this.running = {
      ...this.running,
      extremities,
      head: {
        ...head,
        forwardExtremities: extremities.map((event) => event.number),
        state,
        notifyCount: Math.max(head.notifyCount, notifyCount),
        highlightCount: Math.max(head.highlightCount, highlightCount),
      },
    }
  }

  private extremitiesAfter(context: AdmitContext, arrival: Arrival, stored: StoredEvent): readonly StoredEvent[] {
    // A join that the whole state does not allow puts our user out of the room; something the room has to end with.
    if (arrival.kind === 'entrance') return [stored]
    const { extremities, isSame } = extremitiesWith(context, this.running, arrival, stored)
    if (isSame) return this.running.extremities
    const accepted = extremities.filter(({ fate }) => fate === 'accepted')
    return accepted.length === 0 ? extremities : accepted
  }

  private result(context: AdmitContext): JudgedAnew {
    const { before, running, entrance } = this
    const { view } = context
    const [was, is]: StateReference[] = [before.head.state, running.head.state]
    const changes = changesBetween(context, was!, is!, entrance!)
    const { memberships, summary } = effectsOf(changes, before.summary, (type, key) => view.stateEvent(is!, type, key))
    this.isDone = true
    return {
      events: this.events,
      after: { ...running, head: { ...running.head, version: before.head.version + 1 }, summary },
      completion: { before: was!, after: is!, cause: entrance!.number, memberships, nowTs: context.now },
    }
  }
}

/** As they came: each stands on those before it. Outliers come before what names them. */
function inOrder(events: readonly Provisional[]): readonly Provisional[] {
  const byId = new Map(events.map((one) => [one.event.event.eventId, one]))
  const ordered = new Set<Provisional>()
  const add = (one: Provisional) => {
    if (ordered.has(one)) return
    for (const id of one.event.event.authEvents) {
      const parent = byId.get(id)
      if (parent !== undefined && !ordered.has(parent)) add(parent)
    }
    ordered.add(one)
  }
  for (const one of events) add(one)
  return [...ordered]
}

const nothing = { waitsFor: undefined, redaction: undefined }
