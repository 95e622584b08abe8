import { isObject, own } from './json.js'
import { JsonError, parseJson } from './strict-json.js'

/** The account data by which a user wants no invites. https://spec.matrix.org/v1.19/client-server-api/#invite-permission */
export const INVITE_PERMISSION = 'm.invite_permission_config'

/** By the account data as text, which a client wrote as it liked. */
export function blocksInvites(content: string | undefined): boolean {
  if (content === undefined) return false
  try {
    const { value } = parseJson(content)
    return isObject(value) && own(value, 'default_action') === 'block'
  } catch (cause) {
    if (cause instanceof JsonError) return false
    throw cause
  }
}
