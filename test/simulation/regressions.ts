/**
 * Seeds of worlds that once broke a promise, and by what. A seed means its world only as long as worlds are made as
 * they are; the bugs that were found are therefore kept as planted ones, too (mutations.ts).
 */

export const REGRESSIONS: readonly { seed: number; found: string }[] = [
  { seed: 4905, found: 'an edge did not ask the cluster for as long as its clock was set back' },
  { seed: 6474, found: 'a sender was held for as long as the queue behind the outbox was silent' },
  { seed: 133, found: 'a sender waited for as long as the clock was set back' },
];
