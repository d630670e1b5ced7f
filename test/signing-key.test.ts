import { timingSafeEqual } from 'node:crypto';
import { afterEach, expect, it, vi } from 'vitest';
import { PodKey } from '../pipeline/signing-key.ts';

vi.mock('node:crypto', { spy: true });

afterEach(() => {
  vi.clearAllMocks();
});

const SECRET = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
const [HEAD, BODY] = ['id.1795446000.', 'a body'].map((text) => Buffer.from(text)) as [Buffer, Buffer];

// Seen when broken: with `mac(head, body).equals(given)` it was called 0 times.
it('a signature that the pod checks is compared by the platform, on all 32 bytes, wherever a forgery differs', async () => {
  const key = PodKey.of(SECRET)!;
  const mac = Uint8Array.from(await key.sign(HEAD, BODY));
  expect(key.verify(mac, HEAD, BODY)).toBe(true);
  for (const at of [0, 15, 31]) {
    vi.mocked(timingSafeEqual).mockClear();
    const forged = Uint8Array.from(mac);
    forged[at] = forged[at]! ^ 1;
    expect(key.verify(forged, HEAD, BODY)).toBe(false);
    expect(vi.mocked(timingSafeEqual).mock.calls).toEqual([[Buffer.from(mac), forged]]);
  }
});
