/**
 * A cluster that costs next to nothing: reads each body off and calls it stored. A process of its own, so that it takes
 * no turn of the client's. Prints its port, and ends with its parent.
 */

import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const STORED = JSON.stringify({ batch: 'b', status: 'stored', stored: 1, duplicates: 0, rejected: [] });
const HEADERS = {
  'content-type': 'application/json',
  'content-length': STORED.length,
  'mdp-level': 'ok',
  'mdp-rate-scale': '1',
  'mdp-batch-ticks': '1',
};

const server = createServer((request, response) => {
  request.resume().on('end', () => response.writeHead(200, HEADERS).end(STORED));
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
process.stdin.on('end', () => process.exit()).resume();
