/**
 * Bugs as somebody might write them, planted one at a time into the source text of the product as it is loaded: the
 * simulation has to find each of them. An anchor that is no longer there exactly once is an error, not a pass.
 */

import type { SourceChange } from './hooks.ts';

const WRITER = 'pipeline/sink/writer.ts';
const TICKS = 'pipeline/source/ticks.ts';
const BOOKS = 'pipeline/telemetry/books.ts';
const TOPOLOGY = 'pipeline/topology.ts';
const SHELF = 'worker/outbox/shelf.ts';

export const MUTATIONS: Readonly<Record<string, readonly SourceChange[]>> = {
  'ack-before-commit': [
    {
      file: WRITER,
      find: '    for (let attempt = 1; ; attempt += 1) {\n',
      replace: `    for (const delivery of group) {
      const { rejected, ignoredFields } = delivery.batch;
      const receipt = { stored: delivery.ticks - rejected.length, duplicates: 0, rejected, ignoredFields };
      delivery.settle({ outcome: 'stored', again: false, receipt });
    }
    for (let attempt = 1; ; attempt += 1) {
`,
    },
  ],
  'lost-wake-up-after-an-offer': [{ file: TICKS, find: '    wake();\n', replace: '' }],
  'lost-wake-up-after-a-group': [
    { file: WRITER, find: '    this.wake();\n  }\n\n  /** Writes the group', replace: '  }\n\n  /** Writes the group' },
  ],
  'double-settle-in-the-outbox': [
    {
      file: SHELF,
      find: 'held.seq);\n    });\n    this.#release(held);',
      replace: 'held.seq);\n    });\n    this.#release(held);\n    this.#release(held);',
    },
  ],
  'double-settle-in-the-books': [
    {
      file: BOOKS,
      find: '    this.#end();\n  }\n\n  rejected(',
      replace: '    this.#end();\n    this.#end();\n  }\n\n  rejected(',
    },
  ],
  "settled-with-a-neighbour's-result": [
    {
      file: WRITER,
      find: 'this.#settle(delivery, outcome.results[at]!)',
      replace: 'this.#settle(delivery, outcome.results[0])',
    },
  ],
  'dedupe-by-timestamp': [
    { file: 'pipeline/contract/columns.ts', find: 'return `~${batchId}/${index}`;', replace: "return '';" },
  ],
  'outbox-row-deleted-before-the-answer': [
    {
      file: 'worker/outbox/drain.ts',
      find: 'const { fate, creditTicks } = await deliver(held, body);',
      replace: `shelf.settle(held, { stored: held.ticks, duplicates: 0, rejected: [] }, nowMs());
      const { fate, creditTicks } = await deliver(held, body);
      if (fate !== undefined) return;`,
    },
  ],
  'forgotten-expiry-of-a-held-request': [
    { file: WRITER, find: '    this.#expire();\n    this.#start();', replace: '    this.#start();' },
  ],
  'forgotten-expiry-of-feedback': [
    { file: 'pipeline/backpressure/feedback.ts', find: 'nowMs - heardMs < this.#expiryMs', replace: 'true' },
  ],
  'credit-leak': [
    {
      file: 'pipeline/sink/in-flight.ts',
      find: 'if (this.#groups.delete(group)) this.#count(group, -1);',
      replace: 'this.#groups.delete(group);',
    },
  ],
  'retry-of-a-rejected-batch': [
    { file: 'worker/outbox/fate.ts', find: 'new Set([400, 409, 413, 415, 422])', replace: 'new Set([400, 413, 415])' },
  ],
  'drain-that-exits-early': [
    { file: TOPOLOGY, find: 'writer.idle().then(() => true)', replace: 'Promise.resolve(true)' },
  ],
  'level-stuck-at-hard': [
    {
      file: 'pipeline/backpressure/watermark.ts',
      find: "if (share >= marks.hardUntil) return 'hard';",
      replace: "if (share >= 0) return 'hard';",
    },
  ],
  'residue-ignored': [
    {
      file: BOOKS,
      find: '    add(this.#books.refused, why, this.#ticks);\n',
      replace: '',
    },
    {
      file: BOOKS,
      find: 'return books.offered - books.stored',
      replace: 'return 0 * books.offered - 0 * books.stored',
    },
  ],
  'buffered-after-full': [
    {
      file: 'worker/outbox/hold.ts',
      find: '  const { detail, cause } = outcome;\n',
      replace: "  const { detail, cause } = outcome;\n  if (detail !== '') return { kind: 'buffered' };\n",
    },
  ],
  'let-go-by-the-overflow-while-full': [
    { file: 'worker/outbox/overflow.ts', find: "isHeld = outcome.kind !== 'full';", replace: 'isHeld = true;' },
  ],
  'another-body-taken-for-the-same': [
    {
      file: SHELF,
      find: "if (!sameBytes(bytesOf(known, 'body_hash'), offered.bodyHash)) {",
      replace: 'if (offered.batch === undefined) {',
    },
  ],
  'held-without-an-alarm': [
    {
      file: 'worker/outbox.ts',
      find: "if (outcome.kind === 'buffered') await",
      replace: "if (outcome.kind === 'full') await",
    },
  ],
  'circuit-without-a-probe': [
    {
      file: 'pipeline/sink/circuit.ts',
      find: '    this.#onTrial = true;\n    this.#probing = false;\n    this.#checkAgainAtMs',
      replace: '    this.#probing = false;\n    this.#checkAgainAtMs',
    },
  ],
  'not-put-back-after-a-failure': [
    {
      file: WRITER,
      find: 'this.#parts.queue.putBack(group.filter((delivery) => !delivery.isSettled));',
      replace: 'void group;',
    },
  ],
  'waits-by-a-clock-that-is-set': [
    { file: TOPOLOGY, find: 'nowMs: steadyMs,\n    random', replace: 'nowMs,\n    random' },
    {
      file: TICKS,
      find: 'deliveryOf(provider, body, steadyMs(),',
      replace: 'deliveryOf(provider, body, this.#parts.nowMs(),',
    },
  ],
  "dead-letter-of-a-neighbour's-bytes": [
    {
      file: 'pipeline/sink/isolate.ts',
      find: 'delivery.bytesOf(bad)',
      replace: 'delivery.bytesOf(new Set([...bad].map((_, at) => at)))',
    },
  ],
  'edge-circuit-that-never-looks-again': [
    {
      file: 'worker/circuit.ts',
      find: 'if (leftMs > 0 && leftMs <= LOOK_MAX_MS)',
      replace: 'if (leftMs > 0 || leftMs < 0)',
    },
  ],
};
