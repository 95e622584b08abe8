import { Type } from 'typebox'
import { Reply } from '../../http/reply.js'
import { notFound } from '../../protocol/matrix-error.js'
import { predefinedRules, pushRuleKinds, pushRulesContent, type PushRule } from '../../protocol/push-rules.js'
import { endpoint } from '../endpoint.js'

/**
 * GET /_matrix/client/v3/pushrules/ and what is below it
 * https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
 *
 * Everybody has the predefined rules.
 */

export const getPushRules = endpoint({
  operationId: 'getPushRules',
  method: 'get',
  path: '/_matrix/client/v3/pushrules/',
  aliases: ['/_matrix/client/v3/pushrules'],
  auth: 'access-token',
  handle: (_services, { requester }) => new Reply(200, pushRulesContent(requester.userId)),
})

export const getPushRulesGlobal = endpoint({
  operationId: 'getPushRulesGlobal',
  method: 'get',
  path: '/_matrix/client/v3/pushrules/global/',
  aliases: ['/_matrix/client/v3/pushrules/global'],
  auth: 'access-token',
  handle: (_services, { requester }) => predefinedRules(requester.userId),
})

const rule = { kind: Type.String(), ruleId: Type.String() }

export const getPushRule = endpoint({
  operationId: 'getPushRule',
  method: 'get',
  path: '/_matrix/client/v3/pushrules/global/:kind/:ruleId',
  auth: 'access-token',
  params: Type.Object(rule),
  handle: (_services, { requester, params }) => ruleOf(requester.userId, params),
})

export const isPushRuleEnabled = endpoint({
  operationId: 'isPushRuleEnabled',
  method: 'get',
  path: '/_matrix/client/v3/pushrules/global/:kind/:ruleId/enabled',
  auth: 'access-token',
  params: Type.Object(rule),
  handle: (_services, { requester, params }) => ({ enabled: ruleOf(requester.userId, params).enabled }),
})

export const getPushRuleActions = endpoint({
  operationId: 'getPushRuleActions',
  method: 'get',
  path: '/_matrix/client/v3/pushrules/global/:kind/:ruleId/actions',
  auth: 'access-token',
  params: Type.Object(rule),
  handle: (_services, { requester, params }) => ({ actions: ruleOf(requester.userId, params).actions }),
})

function ruleOf(userId: string, { kind, ruleId }: { kind: string; ruleId: string }): PushRule {
  const known = pushRuleKinds.find((one) => one === kind)
  const found = known && predefinedRules(userId)[known].find((one) => one.rule_id === ruleId)
  if (found === undefined) throw notFound('You have no such push rule')
  return found
}
