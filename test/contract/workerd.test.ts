import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bodyFormat, UNPACKED_MAX_BYTES } from '../../pipeline/contract/batch.ts';
import { type RunningWorkerd, startWorkerd } from '../../deploy/local/workerd.ts';
import { answer } from '../support/contract-probe.ts';
import { bodyOf, MALFORMED_CORPUS } from '../support/malformed-corpus.ts';

const NOW_MS = Date.parse('2026-11-23T15:00:00Z');
const SECRET = `whsec_${btoa('0123456789abcdef0123456789abcdef')}`;

/** The bundler that wrangler deploys with, found where wrangler finds it. */
interface Bundler {
  build(options: Record<string, unknown>): Promise<unknown>;
}

async function bundleProbe(outfile: string): Promise<void> {
  const wrangler = createRequire(import.meta.url).resolve('wrangler/package.json');
  const bundler = createRequire(wrangler)('esbuild') as Bundler;
  const entry = fileURLToPath(new URL('../support/contract-probe.ts', import.meta.url));
  await bundler.build({
    entryPoints: [entry],
    outfile,
    bundle: true,
    format: 'esm',
    target: 'esnext',
    logLevel: 'error',
  });
}

describe('the contract in workerd', () => {
  let dir = '';
  let workerd: RunningWorkerd;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'mdp-contract-'));
    const bundlePath = join(dir, 'probe.js');
    await bundleProbe(bundlePath);
    workerd = await startWorkerd({ bundlePath, port: 0, bindings: {}, dataDir: join(dir, 'workerd') });
  });

  afterAll(async () => {
    await workerd?.stop();
    if (dir !== '') await rm(dir, { recursive: true, force: true });
  });

  async function both(pathAndQuery: string, body: Uint8Array): Promise<{ node: string; workerd: string }> {
    const request = (): Request => new Request(workerd.url + pathAndQuery, { method: 'POST', body: Buffer.from(body) });
    const [here, there] = await Promise.all([answer(request()), fetch(request())]);
    expect(there.status).toBe(200);
    return { node: await here.text(), workerd: await there.text() };
  }

  it('decodes every body of the malformed corpus to the same bytes as in Node', async () => {
    let compared = 0;
    const different: string[] = [];
    for (const entry of MALFORMED_CORPUS) {
      const format = bodyFormat(entry.contentType);
      if (format === undefined) continue;
      let body = bodyOf(entry, NOW_MS);
      if (entry.layer === 'http' && /^gzip$/i.test(entry.contentEncoding ?? '')) {
        if (entry.expect.status !== 200) continue;
        body = gunzipSync(body, { maxOutputLength: UNPACKED_MAX_BYTES });
      }
      const texts = await both(`/decode?format=${format}&now=${NOW_MS}`, body);
      if (texts.workerd !== texts.node) different.push(entry.name);
      compared += 1;
    }
    expect(different).toEqual([]);
    expect(compared).toBeGreaterThan(250);
  }, 60_000);

  it.each([
    ['ASCII', new TextEncoder().encode('{"symbol":"AAPL"}')],
    ['nothing', new Uint8Array()],
    ['bytes that are no text', Uint8Array.from({ length: 1000 }, (_, n) => (n * 89) % 256)],
  ])('signs and verifies %s with the same outcomes as in Node', async (_, body) => {
    const texts = await both(`/sign?secret=${encodeURIComponent(SECRET)}&id=ibkr/msg_1&now=${NOW_MS}`, body);
    expect(texts.workerd).toBe(texts.node);
    expect(JSON.parse(texts.node)).toMatchObject([
      { 'webhook-id': 'ibkr/msg_1', 'webhook-timestamp': String(NOW_MS / 1000) },
      { ok: true },
      { ok: false, why: 'expired' },
      { ok: false, why: 'no_match' },
      { ok: false, why: 'malformed' },
      { ok: false, why: 'no_match' },
      { ok: false, why: 'missing' },
    ]);
  });

  it('refuses the same secrets as in Node', async () => {
    for (const secret of ['', 'whsec_', 'whsec_AAAA', 'whsec_%%%%', `whsec_${btoa('x'.repeat(65))}`]) {
      const texts = await both(`/sign?secret=${encodeURIComponent(secret)}&id=a&now=${NOW_MS}`, new Uint8Array());
      expect(texts).toEqual({ node: '"not a secret"', workerd: '"not a secret"' });
    }
  });
});
