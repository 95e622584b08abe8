import { availableParallelism } from 'node:os'

/** Tests are TypeScript modules, transformed one by one (types are checked by `npm run types`). */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  globalSetup: '<rootDir>/test/support/global-setup.js',
  globalTeardown: '<rootDir>/test/support/global-teardown.js',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'es6' }, sourceMaps: 'inline' },
    ],
  },
  // All cores: much of the time is spent waiting for the database. More than four would need more of its connections.
  maxWorkers: Math.min(availableParallelism(), 4),
  // The module registry of an ESM test file is not freed until its worker ends.
  workerIdleMemoryLimit: '1GB',
  testTimeout: 30_000,
}
