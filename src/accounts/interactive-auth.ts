import type { Kysely } from 'kysely'
import { isObject, own, ownString, type JsonObject } from '../protocol/json.js'
import { badJson, forbidden, MatrixError } from '../protocol/matrix-error.js'
import {
  endInteractiveAuthSession,
  interactiveAuthSession,
  putInteractiveAuthSession,
  type InteractiveAuthSession,
} from '../store/interactive-auth-sessions.js'
import type { Tables } from '../store/tables.js'
import { newSecret } from './secrets.js'

/**
 * User-interactive authentication: a request is repeated with an `auth` object until one of the flows is complete.
 * A stage that succeeds in the request that completes the flow leaves nothing behind; a session is stored when it has to
 * outlive a request. A session is bound to one operation on one subject, and is used up when it is complete.
 * https://spec.matrix.org/v1.19/client-server-api/#user-interactive-authentication-api
 */

/** A kind of stage: `params` for the client, and the check of what it shows. Throws a MatrixError when that is wrong. */
export interface Stage {
  readonly params?: object
  check(auth: JsonObject): Promise<StageResult> | StageResult
}

export interface StageResult {
  /** The token that m.login.registration_token was shown. */
  readonly registrationToken?: string
}

export interface Challenge {
  /** The operation and what it is about, as `deleteDevice @alice:example.org PHONE`. */
  readonly operation: string
  /** Types of stages, in order; any one flow will do. */
  readonly flows: readonly (readonly string[])[]
  readonly stages: Readonly<Record<string, Stage>>
}

/** The 401 that asks for (more of) the authentication. The first one is no error, and has no errcode. */
export class InteractiveAuthRequired extends MatrixError {
  constructor(
    challenge: Challenge,
    session: InteractiveAuthSession,
    private readonly reason: MatrixError | undefined,
  ) {
    super(401, reason?.errcode ?? 'M_FORBIDDEN', reason?.message ?? 'Authentication is required', {
      flows: challenge.flows.map((stages) => ({ stages })),
      params: paramsOf(challenge),
      session: session.session,
      completed: session.completed,
    })
  }

  override json(): Readonly<Record<string, unknown>> {
    return this.reason === undefined ? this.extra : super.json()
  }
}

const paramsOf = ({ stages }: Challenge): object =>
  Object.fromEntries(Object.entries(stages).flatMap(([type, { params }]) => (params ? [[type, params]] : [])))

export class InteractiveAuth {
  constructor(
    private readonly db: Kysely<Tables>,
    private readonly nowTs: () => number = Date.now,
  ) {}

  /**
   * Returns when a flow is complete, with what its stages yielded; throws `InteractiveAuthRequired` until then.
   * `auth` is that key of the request's body.
   */
  async require(challenge: Challenge, auth: unknown): Promise<StageResult> {
    if (auth === undefined) throw await this.#ask(challenge, newSession(challenge))
    if (!isObject(auth)) throw badJson('body.auth must be an object')

    const session = await this.#session(challenge, auth)
    const { result, completed } = await this.#stage(challenge, session, auth)
    const now = { ...session, completed, registrationToken: result.registrationToken ?? session.registrationToken }
    if (!isComplete(challenge, completed)) throw await this.#ask(challenge, now)

    await this.#end(challenge, session)
    return now.registrationToken === undefined ? {} : { registrationToken: now.registrationToken }
  }

  /** The stored one, or a new one where the client names none. */
  async #session(challenge: Challenge, auth: JsonObject): Promise<InteractiveAuthSession & { stored?: boolean }> {
    if (own(auth, 'session') === undefined) return newSession(challenge)
    const name = ownString(auth, 'session')
    if (name === undefined) throw badJson('body.auth.session must be a string')

    const session = name.includes('\0') ? undefined : await interactiveAuthSession(this.db, name, this.nowTs())
    if (session === undefined) {
      throw await this.#ask(challenge, newSession(challenge), forbidden('This session has ended, begin again'))
    }
    if (session.operation !== challenge.operation) throw forbidden('This session was begun for another operation')
    return { ...session, stored: true }
  }

  /** A request without a type asks whether the session has been completed meanwhile. */
  async #stage(
    challenge: Challenge,
    session: InteractiveAuthSession,
    auth: JsonObject,
  ): Promise<{ result: StageResult; completed: readonly string[] }> {
    const { completed } = session
    if (own(auth, 'type') === undefined) return { result: {}, completed }
    const type = ownString(auth, 'type')
    if (type === undefined) throw badJson('body.auth.type must be a string')

    try {
      const stage = Object.hasOwn(challenge.stages, type) ? challenge.stages[type] : undefined
      if (stage === undefined) throw new MatrixError(401, 'M_UNRECOGNIZED', 'There is no such stage in these flows')
      return { result: await stage.check(auth), completed: [...new Set([...completed, type])] }
    } catch (cause) {
      // What may be tried again is asked for again; a limit or a malformed request is answered as what it is.
      const retriable = cause instanceof MatrixError && (cause.status === 401 || cause.status === 403)
      throw retriable ? await this.#ask(challenge, session, cause) : cause
    }
  }

  async #ask(challenge: Challenge, session: InteractiveAuthSession, cause?: MatrixError) {
    await putInteractiveAuthSession(this.db, session, this.nowTs())
    return new InteractiveAuthRequired(challenge, session, cause)
  }

  async #end(challenge: Challenge, session: InteractiveAuthSession & { stored?: boolean }): Promise<void> {
    if (session.stored !== true || (await endInteractiveAuthSession(this.db, session.session))) return
    throw await this.#ask(challenge, newSession(challenge), forbidden('This session has been used, begin again'))
  }
}

const newSession = ({ operation }: Challenge): InteractiveAuthSession => ({
  session: newSecret(),
  operation,
  completed: [],
  registrationToken: undefined,
})

const isComplete = ({ flows }: Challenge, completed: readonly string[]): boolean =>
  flows.some((stages) => stages.every((type) => completed.includes(type)))
