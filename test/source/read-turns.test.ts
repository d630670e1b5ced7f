import type { IncomingMessage } from 'node:http';
import { describe, expect, it } from 'vitest';
import { json } from '../../pipeline/source/http.ts';
import { READS_AT_ONCE, READS_WAITING_MAX, ReadTurns } from '../../pipeline/source/read-turns.ts';
import { until } from '../support/postgres-stores.ts';

const REQUEST = {} as IncomingMessage;
const URL_OF_IT = new URL('http://pod/');

function asker(): {
  ask: (number: number) => Promise<number>;
  begun: number[];
  end: (number: number, how?: 'fails') => void;
} {
  const turns = new ReadTurns();
  const begun: number[] = [];
  const ends = new Map<number, (how?: 'fails') => void>();
  const ask = async (number: number): Promise<number> => {
    const handle = turns.inTurn(
      () =>
        new Promise((resolve, reject) => {
          begun.push(number);
          ends.set(number, (how) => (how === 'fails' ? reject(new Error('the store')) : resolve(json(200, number))));
        }),
    );
    return (await handle(REQUEST, [], URL_OF_IT)).status;
  };
  return { ask, begun, end: (number, how) => ends.get(number)!(how) };
}

describe('questions to the store', () => {
  it('are a few at once, the others in their order, also when one of them fails', async () => {
    const { ask, begun, end } = asker();
    const asked = [0, 1, 2, 3, 4].map((number) => ask(number));
    const failed = asked[0]!.catch(String);
    expect(begun).toEqual([0, 1]);
    end(0, 'fails');
    expect(await failed).toBe('Error: the store');
    await until('the next has begun', () => begun.length === READS_AT_ONCE + 1);
    for (const number of [2, 1]) end(number);
    await until('the last have begun', () => begun.length === 5);
    expect(begun).toEqual([0, 1, 2, 3, 4]);
    for (const number of [3, 4]) end(number);
    expect(await Promise.all(asked.slice(1))).toEqual([200, 200, 200, 200]);
  });

  it('are refused with 503 when many wait, and then no more', async () => {
    const { ask, begun, end } = asker();
    const asked = Array.from({ length: READS_AT_ONCE + READS_WAITING_MAX }, (_, number) => ask(number));
    expect(await ask(-1)).toBe(503);
    for (let ended = 0; ended < asked.length; ended += 1) {
      await until('it has begun', () => begun.includes(ended));
      end(ended);
    }
    expect(new Set(await Promise.all(asked))).toEqual(new Set([200]));
    const later = ask(1_000);
    end(1_000);
    expect(await later).toBe(200);
  });
});
