import { Type } from 'typebox'
import { isTooShort, MIN_PASSWORD_LENGTH, TOO_SHORT } from '../../accounts/passwords.js'
import { isSetupToken } from '../../accounts/setup.js'
import { MatrixError } from '../../protocol/matrix-error.js'
import { endpoint } from '../endpoint.js'
import { html, page } from './page.js'

/**
 * GET and POST /setup/{token} — where the first account, an administrator's, is made in a browser. The link is shown once,
 * at the start of a server nobody administers, and is good until there is an administrator.
 *
 * It is a plain form: nobody can forge the request who does not know the token, and there is no session to ride on.
 */

const params = Type.Object({ token: Type.String() })

export const getSetup = endpoint({
  operationId: 'getSetup',
  method: 'get',
  path: '/setup/:token',
  auth: 'none',
  params,
  rateLimit: 'login',
  handle: async ({ db, config }, { params }) =>
    (await isSetupToken(db, params.token)) ? form(200, config.serverName, '', undefined) : gone(),
})

export const postSetup = endpoint({
  operationId: 'postSetup',
  method: 'post',
  path: '/setup/:token',
  auth: 'none',
  params,
  body: Type.Object({
    username: Type.Optional(Type.String()),
    password: Type.Optional(Type.String()),
    repeated: Type.Optional(Type.String()),
  }),
  bodyFormat: 'form',
  bodyLimit: 16 * 1024,
  rateLimit: 'login',

  async handle({ accounts, db, config }, { params, body }) {
    if (!(await isSetupToken(db, params.token))) return gone()
    const { username = '', password = '', repeated } = body
    const mistake = mistakeIn(password, repeated)
    if (mistake !== undefined) return form(400, config.serverName, username, mistake, 'password')
    try {
      const { userId } = await accounts.register({
        localpart: username,
        password,
        isAdmin: true,
        setupToken: params.token,
      })
      return done(userId, config.publicBaseUrl)
    } catch (cause) {
      if (!(cause instanceof MatrixError)) throw cause
      return form(cause.status, config.serverName, username, cause.message)
    }
  },
})

function mistakeIn(password: string, repeated: string | undefined): string | undefined {
  if (isTooShort(password)) return TOO_SHORT
  if (password !== repeated) return 'The two passwords are not the same.'
  return undefined
}

const form = (
  status: number,
  serverName: string,
  username: string,
  mistake: string | undefined,
  focused: 'username' | 'password' = 'username',
) =>
  page(
    status,
    'Make the first account',
    html`
      <h1>Make the first account</h1>
      <p>
        This account will administer <code>${serverName}</code>. You can sign in with it in any Matrix app, and this
        page works only once.
      </p>
      ${mistake === undefined ? '' : html`<p class="error" role="alert">${mistake}</p>`}
      <form method="post">
        <label for="username">User name</label>
        <input
          id="username"
          name="username"
          value="${username}"
          required
          ${focused === 'username' ? 'autofocus' : ''}
          autocapitalize="none"
          autocomplete="username"
          pattern="[A-Za-z0-9._=\\/+\\-]+"
          title="Letters a–z, digits and . _ = / + -"
        />
        <label for="password">Password, ${String(MIN_PASSWORD_LENGTH)} characters or more</label>
        <input
          id="password"
          name="password"
          type="password"
          required
          ${focused === 'password' ? 'autofocus' : ''}
          minlength="${String(MIN_PASSWORD_LENGTH)}"
          maxlength="512"
          autocomplete="new-password"
        />
        <label for="repeated">The password again</label>
        <input id="repeated" name="repeated" type="password" required autocomplete="new-password" />
        <button>Make the account</button>
      </form>
    `,
  )

const done = (userId: string, publicBaseUrl: string) =>
  page(
    200,
    'The account is made',
    html`
      <h1>The account is made</h1>
      <p>You are <code>${userId}</code>, and you administer this server.</p>
      <p>
        Now open a Matrix app (Element, FluffyChat, Cinny, …), enter <code>${publicBaseUrl}</code> as the server, and
        sign in.
      </p>
    `,
  )

const gone = () =>
  page(
    404,
    'This link is not good any more',
    html`
      <h1>This link is not good any more</h1>
      <p>
        There is an administrator by now, or there were ten starts since. While nobody administers the server, each
        start prints a new link; <code>npm run hearth -- user add NAME --admin</code> makes an administrator at any
        time.
      </p>
    `,
  )
