import { endpoint } from '../endpoint.js'
import type { Services } from '../services.js'
import { html, page } from './page.js'

/** GET / — what somebody sees who opens the server's address in a browser. */
export const home = endpoint({
  operationId: 'home',
  method: 'get',
  path: '/',
  auth: 'none',
  handle: ({ config }) => page(200, `${config.serverName} works`, text(config)),
})

const joining = {
  open: html`<p>You have no account yet? Anybody can make one: choose “create account” in the app.</p>`,
  token: html`<p>You have no account yet? Ask the people who run this server for a registration token.</p>`,
  closed: html`<p>You have no account yet? Ask the people who run this server to make one for you.</p>`,
}

const text = ({ serverName, publicBaseUrl, registration }: Services['config']) => html`
  <h1>It works</h1>
  <p>
    This is a <strong>Matrix homeserver</strong> for <code>${serverName}</code>. Matrix is an open network for messages,
    and this server keeps the conversations of its users. There is nothing more to see here; to chat, use an app.
  </p>
  <h2>Which app?</h2>
  <p>
    Any Matrix app will do. Element (web, desktop), FluffyChat (phones, desktop), Cinny (web, desktop) and nheko
    (desktop) are well known.
  </p>
  <ol>
    <li>Install an app, or open it in your browser.</li>
    <li>When it asks for your server (“homeserver”), enter <code>${publicBaseUrl}</code></li>
    <li>Sign in. Your full name there is <code>@you:${serverName}</code>.</li>
  </ol>
  ${joining[registration]}
`
