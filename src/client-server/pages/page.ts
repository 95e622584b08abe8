import { Reply } from '../../http/reply.js'

/** What stands in a page is HTML; texts from elsewhere go through `html` and are escaped. */
export class Html {
  constructor(readonly source: string) {}
}

/** A template whose values are escaped, unless they are `Html` themselves. */
export function html(parts: TemplateStringsArray, ...values: (string | Html)[]): Html {
  const filled = values.map((value) => (value instanceof Html ? value.source : escape(value)))
  return new Html(parts.map((part, index) => part + (filled[index] ?? '')).join(''))
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (character) => `&#${character.codePointAt(0) ?? 0};`)

const style = `
  body { max-width: 36rem; margin: 3rem auto; padding: 0 1rem; font: 1.05rem/1.5 system-ui, sans-serif; color: #222; background: #fdfcfa }
  h1 { font-size: 1.6rem } code, input { font: inherit } code { background: #eee9e2; padding: 0 .3em; border-radius: .2em }
  label { display: block; margin: 1rem 0 .2rem } input { width: 100%; box-sizing: border-box; padding: .5rem; border: 1px solid #999; border-radius: .3rem }
  button { margin-top: 1.2rem; padding: .6rem 1.2rem; font: inherit; border: 0; border-radius: .3rem; background: #8a3b12; color: #fff }
  .error { color: #a00000; font-weight: 600 }
  @media (prefers-color-scheme: dark) { body { color: #eee; background: #1d1b19 } code { background: #35312d } .error { color: #ff8a80 } }
`

/**
 * A page that loads nothing, runs nothing, cannot be framed, and sends its address to nobody: there may be a secret in
 * it.
 */
const headers = {
  'Content-Type': 'text/html; charset=utf-8',
  'Content-Security-Policy':
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
  'Referrer-Policy': 'no-referrer',
}

export function page(status: number, title: string, body: Html): Reply {
  const { source } = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title}</title>
        <style>
          ${new Html(style)}
        </style>
      </head>
      <body>
        ${body}
      </body>
    </html>`
  return new Reply(status, source, headers)
}
