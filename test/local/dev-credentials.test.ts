/** What `npm start` shows and keeps of secrets. */

import { describe, expect, it } from 'vitest';
import { withoutPassword } from '../../deploy/local/dev-credentials.ts';

describe('the address of a store', () => {
  it('is shown without name and password, even one that holds an "@"', () => {
    expect(withoutPassword('postgres://mdp:hun@ter2@db.example:5432/ticks')).toBe('postgres://…@db.example:5432/ticks');
  });

  it('is shown as it is when it holds none', () => {
    for (const store of ['sqlite:data/ticks.db', 'postgres://db.example/ticks'])
      expect(withoutPassword(store)).toBe(store);
  });
});
