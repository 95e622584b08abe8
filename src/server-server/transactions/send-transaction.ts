import { Type } from 'typebox'
import { Reply } from '../../http/reply.js'
import { isObject, type Json } from '../../protocol/json.js'
import { partsOf, type JsonPart } from '../../protocol/json-texts.js'
import { badJson, notJson } from '../../protocol/matrix-error.js'
import { JsonError, parseJson } from '../../protocol/strict-json.js'
import type { TransactionContent } from '../../room/inbound/received-transactions.js'
import { endpoint } from '../endpoint.js'

const MOST_PDUS = 50
const MOST_EDUS = 100
/** Fifty events of 64 KiB as canonical JSON, the EDUs, and what spaces and escapes add. */
const BODY_LIMIT = 16 * 1024 * 1024

/**
 * PUT /_matrix/federation/v1/send/{txnId}
 * https://spec.matrix.org/v1.19/server-server-api/#put_matrixfederationv1sendtxnid
 *
 * Every PDU and EDU stands for itself: one that is malformed is refused or left out, and the transaction taken. Only a body
 * that is no transaction at all is an error. What the body says of its origin is not looked at: it is who signed.
 */
export const sendTransaction = endpoint({
  operationId: 'sendTransaction',
  method: 'put',
  path: '/_matrix/federation/v1/send/:txnId',
  auth: 'signed-request',
  params: Type.Object({ txnId: Type.String() }),
  body: Type.Object({}),
  bodyFormat: 'text',
  bodyLimit: BODY_LIMIT,

  async handle({ transactions }, { requester, params, bodyText }) {
    return new Reply(200, await transactions.take(requester.serverName, params.txnId, () => read(bodyText)))
  },
})

function read(body: string): TransactionContent {
  const parts = cut(body)
  const pdus = parts.filter(({ key }) => key === 'pdus')
  const edus = parts.filter(({ key }) => key === 'edus')
  if (pdus.length > MOST_PDUS) throw badJson(`A transaction has at most ${MOST_PDUS} PDUs`)
  if (edus.length > MOST_EDUS) throw badJson(`A transaction has at most ${MOST_EDUS} EDUs`)
  return { pdus: pdus.map(({ text }) => text), edus: edus.map(({ text }) => parsed(text)).filter(isObject) }
}

function cut(body: string): JsonPart[] {
  const cutter = partsOf({ elements: ['pdus', 'edus'] }, Infinity)
  try {
    const parts = cutter.push(body)
    cutter.end()
    return parts
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause
    if (cause.kind === 'syntax') throw notJson('The body is not JSON')
    throw badJson(`The body is no transaction: ${cause.message}`)
  }
}

function parsed(text: string): Json | undefined {
  try {
    return parseJson(text).value
  } catch (cause) {
    if (cause instanceof JsonError) return undefined
    throw cause
  }
}
