/** A socket's flow and words, without a socket. */

import { describe, expect, it } from 'vitest';
import { answerText, factsOf, MESSAGE_MAX_BYTES, readMessage } from '../../../worker/socket/message.ts';
import {
  CREDIT_DEFAULT_TICKS,
  CREDIT_MAX_TICKS,
  creditOf,
  FAULT_GAP_MS,
  FAULT_MAX_MS,
  Session,
  TOLD_GRACE_MS,
  UNANSWERED_MAX_BATCHES,
} from '../../../worker/socket/session.ts';
import { Turns } from '../../../worker/socket/turns.ts';
import { newSeed, randomFrom } from '../../support/random.ts';

const NOW_MS = 1_763_908_200_000;

describe('the credit of a socket', () => {
  it('bounds what is unanswered, and lets one batch alone always through', () => {
    const session = new Session(100, NOW_MS);
    expect(session.admits(500, NOW_MS)).toBe(true);
    expect(session.admits(1, NOW_MS)).toBe(false);
    session.settle(500);
    for (const ticks of [60, 40]) expect(session.admits(ticks, NOW_MS)).toBe(true);
    expect(session.admits(1, NOW_MS)).toBe(false);
    session.settle(60);
    expect(session.admits(60, NOW_MS)).toBe(true);
    expect(session.unanswered).toEqual({ ticks: 100, batches: 2 });
  });

  it('bounds batches, however small', () => {
    const session = new Session(CREDIT_MAX_TICKS, NOW_MS);
    for (let at = 0; at < UNANSWERED_MAX_BATCHES; at += 1) expect(session.admits(0, NOW_MS)).toBe(true);
    expect(session.admits(0, NOW_MS)).toBe(false);
  });

  it('that shrinks holds for what is on the wire, and no longer', () => {
    const session = new Session(1_000, NOW_MS);
    session.admits(10, NOW_MS);
    session.tell(100, NOW_MS);
    session.tell(50, NOW_MS + 500);
    expect(session.creditTicks).toBe(50);
    expect(session.admits(900, NOW_MS + TOLD_GRACE_MS - 1)).toBe(true);
    session.settle(900);
    expect(session.admits(90, NOW_MS + 500 + TOLD_GRACE_MS)).toBe(false);
    expect(session.admits(40, NOW_MS + 500 + TOLD_GRACE_MS)).toBe(true);
  });

  it('is the share of what the pods have room for, and a batch while they have none', () => {
    expect(creditOf(undefined, false, 1)).toBe(CREDIT_DEFAULT_TICKS);
    expect(creditOf(9_000, false, 0)).toBe(9_000);
    expect(creditOf(9_000, false, 4)).toBe(2_250);
    expect(creditOf(10 ** 9, false, 1)).toBe(CREDIT_MAX_TICKS);
    expect(creditOf(0, false, 1)).toBe(0);
    expect(creditOf(0, true, 1)).toBe(CREDIT_DEFAULT_TICKS);
  });
});

describe('a fault', () => {
  it('is told, and ends the socket when it goes on for five seconds', () => {
    const session = new Session(1, NOW_MS);
    let atMs = NOW_MS;
    for (; atMs <= NOW_MS + FAULT_MAX_MS; atMs += 500) expect(session.fault(atMs)).toBe('tell');
    expect(session.fault(atMs)).toBe('close');
  });

  it('however often it comes at once, or now and then, is told alone', () => {
    const session = new Session(1, NOW_MS);
    for (let at = 0; at < 5_000; at += 1) expect(session.fault(NOW_MS)).toBe('tell');
    for (let at = 1; at < 100; at += 1) expect(session.fault(NOW_MS + at * (FAULT_GAP_MS + 1))).toBe('tell');
  });
});

describe('a message', () => {
  it('is a line with the batch and lines of ticks', () => {
    const read = readMessage('{"batch":"b1","more":1}\r\n{"symbol":"é"}\n');
    expect(read).toMatchObject({ ok: true, batch: 'b1' });
    expect(read.ok && new TextDecoder().decode(read.body)).toBe('{"symbol":"é"}\n');
  });

  it('is measured in bytes, with its first line', () => {
    const head = '{"batch":"b1"}\n';
    const fits = head + 'é'.repeat((MESSAGE_MAX_BYTES - head.length - 1) / 2);
    expect(readMessage(fits).ok).toBe(true);
    expect(readMessage(`${fits}éé`)).toMatchObject({ ok: false, problem: { status: 413, batch: 'b1' } });
    expect(readMessage('x'.repeat(MESSAGE_MAX_BYTES + 1))).toMatchObject({ ok: false, problem: { status: 413 } });
  });

  it('back has what HTTP has in headers, and leaves out what nobody said', () => {
    const headers = new Headers({ 'mdp-level': 'soft', 'mdp-rate-scale': '0.5', 'retry-after': '3' });
    expect(JSON.parse(answerText({ batch: 'b' }, { credit: 5, ...factsOf(headers) }))).toEqual({
      batch: 'b',
      credit: 5,
      level: 'soft',
      rateScale: 0.5,
      retryAfterSeconds: 3,
    });
    expect(answerText({}, { credit: 5, ...factsOf(new Headers()) })).toBe('{"credit":5}');
  });
});

const seed = newSeed();
it(`turns: at most so many at once, in the order of their coming, also after failures (seed ${seed})`, async () => {
  const random = randomFrom(seed);
  const turns = new Turns(3);
  const begun: number[] = [];
  let atWork = 0;
  let most = 0;
  const works = Array.from({ length: 200 }, (_, at) =>
    turns.inTurn(async () => {
      begun.push(at);
      atWork += 1;
      most = Math.max(most, atWork);
      for (let more = random.below(5); more > 0; more -= 1) await Promise.resolve();
      atWork -= 1;
      if (random.below(3) === 0) throw new Error('failed');
    }),
  );
  await Promise.allSettled(works);
  expect(begun).toEqual(Array.from({ length: 200 }, (_, at) => at));
  expect(most).toBe(3);
});
