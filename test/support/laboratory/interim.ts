/* scratch: replaced by test/protocol/state-resolution/naive.ts */
import { hash } from 'node:crypto'
import { authEventKeys, authorize, powerLevels } from '../../../src/protocol/authorization/index.js'
import type { RoomEvent } from '../../../src/protocol/room-event.js'
import type { RoomVersionRules } from '../../../src/protocol/room-versions.js'
type S = ReadonlyMap<string, string>
const K = (t: string, k: string) => JSON.stringify([t, k])
export function resolveNaively(
  rules: RoomVersionRules,
  states: readonly S[],
  get: (id: string) => { event: RoomEvent; rejected: boolean },
): S {
  const keys = new Set(states.flatMap((s) => [...s.keys()]))
  const un = new Map<string, string>()
  const conf = new Map<string, Set<string>>()
  for (const k of keys) {
    const vals = new Set(states.map((s) => s.get(k)))
    if (vals.size === 1) un.set(k, [...vals][0]!)
    else if (rules.stateResolution === 'v1' && new Set([...vals].filter((v) => v !== undefined)).size === 1)
      un.set(
        k,
        [...vals].find((v) => v !== undefined)!,
      )
    else conf.set(k, new Set([...vals].filter((v) => v !== undefined) as string[]))
  }
  if (conf.size === 0) return un
  const look = (r: Map<string, string>) => (t: string, k: string) => {
    const id = r.get(K(t, k))
    return id === undefined ? undefined : get(id).event
  }
  const createOf = (e: RoomEvent) => (rules.roomIdIsCreateHash ? get('$' + e.roomId.slice(1)).event : undefined)
  if (rules.stateResolution === 'v1') {
    const r = new Map(un)
    const sha = (id: string) => hash('sha1', id, 'hex')
    const allOf = (type: string) => [...conf].filter(([k]) => JSON.parse(k)[0] === type)
    for (const type of ['m.room.power_levels', 'm.room.join_rules', 'm.room.member'])
      for (const [k, ids] of allOf(type)) {
        const list = [...ids]
          .map((i) => get(i).event)
          .sort((a, b) => a.depth - b.depth || (sha(a.eventId) < sha(b.eventId) ? 1 : -1))
        r.set(k, list[0]!.eventId)
        for (const e of list.slice(1)) {
          if (authorize(rules, e, look(r)).allowed) r.set(k, e.eventId)
          else break
        }
      }
    for (const [k, ids] of conf)
      if (!r.has(k)) {
        const list = [...ids]
          .map((i) => get(i).event)
          .sort((a, b) => b.depth - a.depth || (sha(a.eventId) < sha(b.eventId) ? -1 : 1))
        const ok = list.find((e) => authorize(rules, e, look(r)).allowed) ?? list.at(-1)!
        r.set(k, ok.eventId)
      }
    return r
  }
  const chain = (ids: Iterable<string>) => {
    const f = new Set<string>()
    const o = [...ids].flatMap((i) => get(i).event.authEvents)
    while (o.length) {
      const i = o.pop()!
      if (!f.has(i)) {
        f.add(i)
        o.push(...get(i).event.authEvents)
      }
    }
    return f
  }
  const C = new Set([...conf.values()].flatMap((s) => [...s]))
  const full = new Set(C)
  const chains = states.map((s) => {
    const ids = [...s.values()]
    return new Set([...chain(ids), ...ids.filter(() => false)])
  })
  const uni = new Set(chains.flatMap((c) => [...c]))
  for (const i of uni) if (!chains.every((c) => c.has(i))) full.add(i)
  if (rules.stateResolution === 'v2.1')
    for (const c of C) for (const d of chain([c])) if ([...C].some((x) => chain([d]).has(x)) && true) full.add(d)
  const isPower = (e: RoomEvent) =>
    e.stateKey !== undefined &&
    (e.type === 'm.room.power_levels' ||
      e.type === 'm.room.join_rules' ||
      (e.type === 'm.room.member' &&
        (e.content.membership === 'leave' || e.content.membership === 'ban') &&
        e.sender !== e.stateKey))
  const X = new Set<string>()
  for (const i of full)
    if (isPower(get(i).event)) {
      X.add(i)
      for (const a of chain([i])) if (full.has(a)) X.add(a)
    }
  const pl = (e: RoomEvent) => {
    const auth = e.authEvents.map((a) => get(a).event)
    const p = auth.find((a) => a.type === 'm.room.power_levels')
    const c =
      createOf(e) ?? auth.find((a) => a.type === 'm.room.create') ?? (e.type === 'm.room.create' ? e : undefined)
    return c ? powerLevels(rules, c, p).levelOf(e.sender) : 0
  }
  const out: string[] = []
  const left = new Set(X)
  while (left.size) {
    const ready = [...left].filter((i) => !get(i).event.authEvents.some((a) => left.has(a))).map((i) => get(i).event)
    ready.sort((a, b) => pl(b) - pl(a) || a.originServerTs - b.originServerTs || (a.eventId < b.eventId ? -1 : 1))
    out.push(ready[0]!.eventId)
    left.delete(ready[0]!.eventId)
  }
  const iter = (r: Map<string, string>, ids: string[]) => {
    for (const i of ids) {
      const e = get(i).event
      const s = new Map<string, string>()
      for (const a of e.authEvents) if (!get(a).rejected) s.set(K(get(a).event.type, get(a).event.stateKey ?? ''), a)
      for (const [t, k] of authEventKeys(rules, e)) {
        const v = r.get(K(t, k))
        if (v) s.set(K(t, k), v)
      }
      if (!get(i).rejected && authorize(rules, e, look(s), createOf(e)).allowed) r.set(K(e.type, e.stateKey!), i)
    }
    return r
  }
  const R = iter(new Map(rules.stateResolution === 'v2.1' ? [] : un), out)
  const main: string[] = []
  for (let p = R.get(K('m.room.power_levels', '')) ?? un.get(K('m.room.power_levels', '')); p;) {
    main.push(p)
    p = get(p).event.authEvents.find((a) => get(a).event.type === 'm.room.power_levels')
  }
  const pos = (i: string): number => {
    for (
      let p: string | undefined = i;
      p;
      p = get(p).event.authEvents.find((a) => get(a).event.type === 'm.room.power_levels')
    ) {
      const at = main.indexOf(p)
      if (at >= 0) return main.length - at
    }
    return 0
  }
  const rest = [...full]
    .filter((i) => !X.has(i))
    .map((i) => get(i).event)
    .sort(
      (a, b) =>
        pos(a.eventId) - pos(b.eventId) || a.originServerTs - b.originServerTs || (a.eventId < b.eventId ? -1 : 1),
    )
    .map((e) => e.eventId)
  iter(R, rest)
  for (const [k, v] of un) R.set(k, v)
  return R
}
