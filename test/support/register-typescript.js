import { register } from 'node:module'

/**
 * Lets plain Node run our TypeScript: `node --import ./test/support/register-typescript.js src/main.ts`. Jest transforms
 * test files itself, but not what its global set-up imports, and not the processes that tests start.
 */
register('./typescript-hooks.js', import.meta.url)
