import { Glob } from './glob.js'
import { isObject, own, ownString, type Json, type JsonObject } from './json.js'
import { propertyAt, propertyPath } from './property-path.js'

/**
 * Push rules: which events notify a user, and how. https://spec.matrix.org/v1.19/client-server-api/#push-rules
 *
 * A ruleset is what `GET /pushrules/global/` answers, in the order in which rules are tried: within a kind the rules of the
 * user come before the predefined ones, but for `.m.rule.master`, which is first of all. Rules are JSON that clients wrote:
 * what cannot be understood does not match.
 *
 * {@link evaluate} judges one event for one user by any rules, {@link defaultVerdict} one event for everybody whose rules
 * are the predefined ones; the two agree.
 */

/** The kinds of rules in the order in which they are tried. */
export const pushRuleKinds = ['override', 'content', 'room', 'sender', 'underride'] as const
export type PushRuleKind = (typeof pushRuleKinds)[number]

export type PushAction = string | JsonObject
/** `kind` says what the other keys mean. */
export type PushCondition = JsonObject
export type PushRule = {
  readonly rule_id: string
  readonly default: boolean
  readonly enabled: boolean
  readonly actions: readonly PushAction[]
  /** Of `override` and `underride` rules. */
  readonly conditions?: readonly PushCondition[]
  /** Of `content` rules. */
  readonly pattern?: string
}
export type PushRuleset = { readonly [kind in PushRuleKind]: readonly PushRule[] }

// Predefined rules

type Conditions = readonly PushCondition[]
const matches = (key: string, pattern: string): PushCondition => ({ kind: 'event_match', key, pattern })
const is = (key: string, value: Json): PushCondition => ({ kind: 'event_property_is', key, value })
const contains = (key: string, value: Json): PushCondition => ({ kind: 'event_property_contains', key, value })
const oneToOne: PushCondition = { kind: 'room_member_count', is: '2' }

const sound = (value: string): PushAction => ({ set_tweak: 'sound', value })
const highlight: PushAction = { set_tweak: 'highlight' }

const predefined = (rule_id: string, conditions: Conditions, actions: readonly PushAction[]): PushRule => ({
  rule_id,
  default: true,
  enabled: rule_id !== '.m.rule.master',
  conditions,
  actions,
})

const inviteForMe = (userId: string) =>
  predefined(
    '.m.rule.invite_for_me',
    [matches('type', 'm.room.member'), matches('content.membership', 'invite'), matches('state_key', userId)],
    ['notify', sound('default')],
  )

const isUserMention = (userId: string) =>
  predefined(
    '.m.rule.is_user_mention',
    [contains('content.m\\.mentions.user_ids', userId)],
    ['notify', sound('default'), highlight],
  )

const master = predefined('.m.rule.master', [], [])
const suppressNotices = predefined('.m.rule.suppress_notices', [matches('content.msgtype', 'm.notice')], [])
const memberEvent = predefined('.m.rule.member_event', [matches('type', 'm.room.member')], [])

const overridesAfterMention: readonly PushRule[] = [
  predefined(
    '.m.rule.is_room_mention',
    [is('content.m\\.mentions.room', true), { kind: 'sender_notification_permission', key: 'room' }],
    ['notify', highlight],
  ),
  predefined(
    '.m.rule.tombstone',
    [matches('type', 'm.room.tombstone'), matches('state_key', '')],
    ['notify', highlight],
  ),
  predefined('.m.rule.reaction', [matches('type', 'm.reaction')], []),
  predefined('.m.rule.room.server_acl', [matches('type', 'm.room.server_acl'), matches('state_key', '')], []),
  predefined('.m.rule.suppress_edits', [is('content.m\\.relates_to.rel_type', 'm.replace')], []),
]

const underride: readonly PushRule[] = [
  predefined('.m.rule.call', [matches('type', 'm.call.invite')], ['notify', sound('ring')]),
  predefined(
    '.m.rule.encrypted_room_one_to_one',
    [oneToOne, matches('type', 'm.room.encrypted')],
    ['notify', sound('default')],
  ),
  predefined('.m.rule.room_one_to_one', [oneToOne, matches('type', 'm.room.message')], ['notify', sound('default')]),
  predefined('.m.rule.message', [matches('type', 'm.room.message')], ['notify']),
  predefined('.m.rule.encrypted', [matches('type', 'm.room.encrypted')], ['notify']),
]

/**
 * The ruleset of a user who changed nothing: the value of `global` in the answer of `GET /pushrules/`.
 * https://spec.matrix.org/v1.19/client-server-api/#predefined-rules
 */
export const predefinedRules = (userId: string): PushRuleset => ({
  override: [
    master,
    suppressNotices,
    inviteForMe(userId),
    memberEvent,
    isUserMention(userId),
    ...overridesAfterMention,
  ],
  content: [],
  room: [],
  sender: [],
  underride,
})

// Evaluation

/** What rules ask about besides the event. */
export interface PushContext {
  /** Whose rules these are. Nobody is notified of events of their own. */
  readonly userId: string
  /** The user's name in the room. */
  readonly displayName?: string
  /** Joined members. */
  readonly roomMemberCount: number
  /** Whether the power levels let the sender of the event notify the whole room in this way (`room`, for `@room`). */
  readonly senderMayNotify: (key: string) => boolean
}

export interface PushVerdict {
  readonly notify: boolean
  /** Notifies, and is to be counted as a highlight. */
  readonly highlight: boolean
  /** The actions of the rule that matched, without the historical ones. */
  readonly actions: readonly PushAction[]
  /** The tweaks of those actions, as push gateways receive them. */
  readonly tweaks: JsonObject
}

const silence: PushVerdict = { notify: false, highlight: false, actions: [], tweaks: {} }

/** Judges an event, as clients see it (with `room_id`, `sender`, `type`, `content`), by the first rule that matches. */
export function evaluate(ruleset: PushRuleset, event: JsonObject, context: PushContext): PushVerdict {
  if (own(event, 'sender') === context.userId) return silence
  for (const kind of pushRuleKinds) {
    const rule = ruleset[kind].find((rule) => rule.enabled && ruleMatches(kind, rule, event, context))
    if (rule !== undefined) return verdictOf(rule.actions)
  }
  return silence
}

function verdictOf(all: readonly PushAction[]): PushVerdict {
  const actions = all.filter((action) => action !== 'dont_notify' && action !== 'coalesce')
  const notify = actions.includes('notify')
  const tweaks = Object.fromEntries(actions.flatMap(tweakOf))
  return { notify, highlight: notify && own(tweaks, 'highlight') === true, actions, tweaks }
}

function tweakOf(action: PushAction): [name: string, value: Json][] {
  const name = isObject(action) ? ownString(action, 'set_tweak') : undefined
  if (name === undefined) return []
  const value = own(action as JsonObject, 'value')
  if (value !== undefined) return [[name, value]]
  return name === 'highlight' ? [[name, true]] : []
}

type Matcher = (event: JsonObject, context: PushContext) => boolean

const never: Matcher = () => false

/** What a rule or a condition compiles to, for as long as somebody holds it. Most are shared by all users. */
const compiled = new WeakMap<object, Matcher>()

function compiledOf<T extends object>(source: T, compile: (source: T) => Matcher): Matcher {
  let matcher = compiled.get(source)
  if (matcher === undefined) compiled.set(source, (matcher = compile(source)))
  return matcher
}

function ruleMatches(kind: PushRuleKind, rule: PushRule, event: JsonObject, context: PushContext): boolean {
  switch (kind) {
    case 'override':
    case 'underride':
      return (rule.conditions ?? []).every((condition) => compiledOf(condition, compileCondition)(event, context))
    case 'content':
      return compiledOf(rule, ({ pattern }) => eventMatch('content.body', pattern))(event, context)
    case 'room':
      return own(event, 'room_id') === rule.rule_id
    case 'sender':
      return own(event, 'sender') === rule.rule_id
  }
}

/** "Unrecognised conditions MUST NOT match any events", and neither do recognised ones with parameters that make no sense. */
function compileCondition(condition: PushCondition): Matcher {
  const key = own(condition, 'key')
  switch (own(condition, 'kind')) {
    case 'event_match':
      return eventMatch(key, own(condition, 'pattern'))
    case 'event_property_is':
      return eventPropertyIs(key, own(condition, 'value'))
    case 'event_property_contains':
      return eventPropertyContains(key, own(condition, 'value'))
    case 'contains_display_name':
      return containsDisplayName
    case 'room_member_count':
      return roomMemberCount(own(condition, 'is'))
    case 'sender_notification_permission':
      return typeof key === 'string' ? (_event, context) => context.senderMayNotify(key) : never
    default:
      return never
  }
}

function eventMatch(key: Json | undefined, pattern: Json | undefined): Matcher {
  if (typeof key !== 'string' || typeof pattern !== 'string') return never
  const path = propertyPath(key)
  const glob = new Glob(pattern)
  const isBody = path.length === 2 && path[0] === 'content' && path[1] === 'body'
  return (event) => {
    const value = propertyAt(event, path)
    return typeof value === 'string' && (isBody ? glob.matchesWords(value) : glob.matches(value))
  }
}

function eventPropertyIs(key: Json | undefined, value: Json | undefined): Matcher {
  if (typeof key !== 'string' || !isScalar(value)) return never
  const path = propertyPath(key)
  return (event) => propertyAt(event, path) === value
}

function eventPropertyContains(key: Json | undefined, value: Json | undefined): Matcher {
  if (typeof key !== 'string' || !isScalar(value)) return never
  const path = propertyPath(key)
  return (event) => {
    const list = propertyAt(event, path)
    return Array.isArray(list) && list.includes(value)
  }
}

/** The non-compound values of canonical JSON. */
const isScalar = (value: Json | undefined): value is null | boolean | number | string =>
  value === null || typeof value === 'boolean' || typeof value === 'string' || Number.isSafeInteger(value)

/** The name is no pattern, and compared as words are: "Al" is not contained in "all". */
const containsDisplayName: Matcher = (event, { displayName }) => {
  const body = propertyAt(event, ['content', 'body'])
  if (typeof body !== 'string' || displayName === undefined || displayName === '') return false
  return new Glob(displayName, { literal: true }).matchesWords(body)
}

function roomMemberCount(is: Json | undefined): Matcher {
  const [, operator, digits] = (typeof is === 'string' ? /^(==|<=|>=|<|>)?([0-9]+)$/.exec(is) : undefined) ?? []
  if (digits === undefined) return never
  const limit = Number(digits)
  switch (operator) {
    case '<':
      return (_event, context) => context.roomMemberCount < limit
    case '>':
      return (_event, context) => context.roomMemberCount > limit
    case '<=':
      return (_event, context) => context.roomMemberCount <= limit
    case '>=':
      return (_event, context) => context.roomMemberCount >= limit
    default:
      return (_event, context) => context.roomMemberCount === limit
  }
}

// The predefined rules, for everybody at once

export interface DefaultPushEvent {
  readonly type: string
  readonly sender: string
  readonly stateKey?: string
  readonly content: JsonObject
  /** Joined members. No predefined rule but for sounds depends on it. */
  readonly roomMemberCount: number
  /** Whether the power levels let the sender notify the whole room (`notifications.room`). */
  readonly mentionsRoomAllowed: boolean
}

/** What an event means to all members but its sender who have the predefined rules. */
export interface DefaultVerdict {
  /** It notifies everybody. */
  readonly notify: boolean
  /** And highlights for everybody. */
  readonly highlightAll: boolean
  /** For these users, whom the message mentions, it notifies and highlights in any case. They need not be members, or ours. */
  readonly mentioned: readonly string[]
  /** This user, who is no member yet, is notified of being invited. */
  readonly invited?: string
}

const nobody: DefaultVerdict = { notify: false, highlightAll: false, mentioned: [] }
const everybody: DefaultVerdict = { notify: true, highlightAll: false, mentioned: [] }

/**
 * What {@link evaluate} says by {@link predefinedRules}, for all users in one go. The rules stand here a second time,
 * written out, because an event into a room of many thousands must not be judged once per member.
 */
export function defaultVerdict({
  type: eventType,
  stateKey,
  content,
  mentionsRoomAllowed,
}: DefaultPushEvent): DefaultVerdict {
  const msgtype = own(content, 'msgtype')
  if (typeof msgtype === 'string' && msgtype.toLowerCase() === 'm.notice') return nobody

  const type = eventType.toLowerCase()
  if (type === 'm.room.member') return memberVerdict(stateKey, own(content, 'membership'))

  const mentions = own(content, 'm.mentions')
  const mentioned = isObject(mentions) ? mentionedUsers(own(mentions, 'user_ids')) : nobody.mentioned
  const roomMention = isObject(mentions) && own(mentions, 'room') === true && mentionsRoomAllowed
  if (roomMention || (type === 'm.room.tombstone' && stateKey === '')) {
    return { notify: true, highlightAll: true, mentioned }
  }

  const verdict = notifyingTypes.has(type) && !isEdit(content) ? everybody : nobody
  return mentioned.length === 0 ? verdict : { ...verdict, mentioned }
}

/** Of the `underride` rules. What else the `override` rules silence (reactions, server ACLs) no rule would notify of. */
const notifyingTypes: ReadonlySet<string> = new Set(['m.call.invite', 'm.room.encrypted', 'm.room.message'])

const memberVerdict = (stateKey: string | undefined, membership: Json | undefined): DefaultVerdict =>
  stateKey !== undefined && typeof membership === 'string' && membership.toLowerCase() === 'invite'
    ? { ...nobody, invited: stateKey }
    : nobody

const mentionedUsers = (userIds: Json | undefined): readonly string[] =>
  Array.isArray(userIds) && userIds.length > 0
    ? Array.from(new Set(userIds.filter((userId) => typeof userId === 'string')))
    : nobody.mentioned

function isEdit(content: JsonObject): boolean {
  const relation = own(content, 'm.relates_to')
  return isObject(relation) && own(relation, 'rel_type') === 'm.replace'
}

/** The content of `m.push_rules`, and the answer of `GET /pushrules/`, for a user who changed nothing: JSON text. */
export const pushRulesContent = (userId: string): string => JSON.stringify({ global: predefinedRules(userId) })
