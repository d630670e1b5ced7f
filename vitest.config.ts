import { defineConfig } from 'vitest/config';

/** What fills both cores by itself, or holds a process to its memory or to a share of its speed. */
const ALONE = [
  'test/chaos/**/*.test.ts',
  'test/end-to-end/{credit,malformed,many-providers,outage,replay,slow-store}.test.ts',
  'test/hostile/**/*.test.ts',
  'test/rehearse/**/*.test.ts',
  'test/simulation/**/*.test.ts',
];

/** What waits most of its time and uses little of a core: for evictions, retries, figures of a minute, incidents. */
const WAITING = [
  'test/end-to-end/{outbox,postgres-under-load,scaling,websocket}.test.ts',
  'test/worker/status/board.test.ts',
];

export default defineConfig({
  test: {
    // No process that a test starts may print a secret.
    setupFiles: ['test/support/secret-watch.ts'],
    testTimeout: 20_000,
    hookTimeout: 60_000,
    reporters: ['default'],
    projects: [
      {
        extends: true,
        test: { name: 'waiting', include: WAITING, maxWorkers: 5, sequence: { groupOrder: 0 } },
      },
      // Most of the time of most files is waiting for real processes: two at once take little more than one.
      {
        extends: true,
        test: {
          name: 'together',
          include: ['test/**/*.test.ts'],
          exclude: [...WAITING, ...ALONE],
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: { name: 'alone', include: ALONE, fileParallelism: false, sequence: { groupOrder: 2 } },
      },
    ],
  },
});
