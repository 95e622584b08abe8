import js from '@eslint/js'
import tseslint from 'typescript-eslint'

/**
 * Arrows point one way: main → homeserver → the APIs and workers → federation → room, sync, accounts → store → protocol.
 * Each folder names what it may not import; everything else is allowed.
 */
const apis = ['client-server', 'server-server']
const top = ['homeserver', 'assemble', 'main']

const layers = {
  protocol: ['store', 'room', 'sync', 'accounts', 'federation', 'http', ...apis, 'workers', 'config', ...top],
  store: ['room', 'sync', 'accounts', 'federation', 'http', ...apis, 'workers', ...top],
  sync: ['federation', 'http', ...apis, 'workers', ...top],
  room: ['sync', 'federation', 'http', ...apis, 'workers', ...top],
  accounts: ['room', 'sync', 'federation', 'http', ...apis, 'workers', ...top],
  federation: ['http', ...apis, 'workers', ...top],
  http: ['room', 'sync', 'federation', ...apis, 'workers', ...top],
  'client-server': ['server-server', 'workers', ...top],
  'server-server': ['client-server', 'workers', ...top],
  workers: ['http', ...apis, ...top],
}

const layerRules = Object.entries(layers).map(([folder, forbidden]) => ({
  files: [`src/${folder}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: forbidden.map((name) => ({
          regex: `^(\\.\\./)+${name}(/|\\.js$)`,
          message: `${folder}/ may not import ${name}: arrows point one way (docs/architecture.md)`,
        })),
      },
    ],
  },
}))

export default tseslint.config(
  { ignores: ['dist', 'data', 'node_modules', 'test/fixtures'] },
  js.configs.recommended,
  ...tseslint.configs.recommended,
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/consistent-type-imports': 'error',
      'require-yield': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    rules: {
      'no-restricted-properties': [
        'error',
        { object: 'Math', property: 'random', message: 'use node:crypto: predictable tokens were CVE-2019-11842' },
      ],
    },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/config.ts', 'src/main.ts'],
    rules: {
      'no-restricted-syntax': [
        'error',
        {
          selector: "MemberExpression[object.name='process'][property.name='env']",
          message: 'config.ts reads the environment',
        },
      ],
    },
  },
  { files: ['**/*.js'], languageOptions: { globals: { process: 'readonly', console: 'readonly' } } },
  ...layerRules,
)
