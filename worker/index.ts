/**
 * The Worker's entry: binds the runtime's own network, clock, chance and log to the routes. Decides nothing.
 */

import { createApp } from './app.ts';

const app = createApp({
  fetch: (input, init) => fetch(input, init),
  nowMs: () => Date.now(),
  random: () => Math.random(),
  wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
  log: (line) => (line.level === 'info' ? console.log : console.error)(JSON.stringify(line)),
});

export default { fetch: app.fetch };
