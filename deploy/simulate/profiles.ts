/**
 * Load profiles, in multiples of what one pod stores, and what goes wrong during them. Pure: chance comes in as an
 * argument, and nothing here knows who reacts to the load.
 */

import { STEP_SECONDS } from './plant.ts';

/** What a run is judged by; which of them mean something depends on the profile. */
export interface Event {
  atSeconds: number;
  untilSeconds: number;
}

export interface Profile {
  name: string;
  title: string;
  durationSeconds: number;
  /** Pods that are there, ready, when it begins. */
  replicas: number;
  /** Load of each step. */
  load(random: () => number): Float64Array;
  /** From when on a run is measured; before it the loop settles. */
  measuredFromSeconds: number;
  /** How often the load itself turns round; more turns of the replicas are reversals. */
  turns: number;
  storeAway?: Event;
  storeSlow?: Event;
  /** `prometheus`: queries get no answer; `targets`: they find nothing, and the edge does not answer KEDA either. */
  metricsLost?: Event & { what: 'prometheus' | 'targets' };
  /** Wall clock at its beginning, for schedules. */
  startsAt: string;
}

/** A Sunday, when no schedule is on; and a Monday, ten minutes before a market's open at 9:30 in New York. */
const SUNDAY = '2026-11-22T12:00:00-05:00';
const BEFORE_THE_OPEN = '2026-11-23T09:20:00-05:00';
const SETTLE_SECONDS = 600;
const SPIKE_SECONDS = 60;
const DAY_SECONDS = 7200;
const NOISE_SHARE = 0.25;
const NOISE_CORRELATION_SECONDS = 15;
const BURST_EVERY_SECONDS = 180;
const BURST_FACTOR = 2.5;

/** When the steps of {@link PROFILES}.step begin. */
export const STEP_AT_SECONDS = { one: 0, twoAndAHalf: 300, seven: 600, low: 900 } as const;
export const SETTLED_SECONDS = SETTLE_SECONDS;

function profile(given: Partial<Profile> & Pick<Profile, 'name' | 'title' | 'durationSeconds' | 'load'>): Profile {
  return { replicas: 1, measuredFromSeconds: 0, turns: 0, startsAt: SUNDAY, ...given };
}

/** A load that changes without chance. */
function follows(durationSeconds: number, at: (seconds: number) => number): () => Float64Array {
  return () => Float64Array.from({ length: durationSeconds / STEP_SECONDS }, (_, step) => at(step * STEP_SECONDS));
}

function spike(name: string, title: string): Profile {
  const end = SETTLE_SECONDS + SPIKE_SECONDS;
  const durationSeconds = end + 600;
  return profile({
    name,
    title,
    durationSeconds,
    replicas: 2,
    measuredFromSeconds: SETTLE_SECONDS,
    turns: 1,
    load: follows(durationSeconds, (at) => (at >= SETTLE_SECONDS && at < end ? 10 : 1)),
  });
}

function outage(name: string, title: string, multiple: number, seconds: number): Profile {
  const durationSeconds = SETTLE_SECONDS + seconds + 900;
  return profile({
    name,
    title,
    durationSeconds,
    replicas: Math.ceil(multiple / 0.8),
    measuredFromSeconds: SETTLE_SECONDS,
    // What has waited during the outage is a load that comes and goes.
    turns: 1,
    load: follows(durationSeconds, () => multiple),
    storeAway: { atSeconds: SETTLE_SECONDS, untilSeconds: SETTLE_SECONDS + seconds },
  });
}

function steady(name: string, title: string, seconds: number, given: Partial<Profile>): Profile {
  const durationSeconds = SETTLE_SECONDS + seconds + 300;
  return profile({
    name,
    title,
    durationSeconds,
    replicas: 7,
    measuredFromSeconds: SETTLE_SECONDS,
    load: follows(durationSeconds, () => 5),
    ...given,
  });
}

const LOST: Event = { atSeconds: SETTLE_SECONDS, untilSeconds: SETTLE_SECONDS + 300 };

export const PROFILES: readonly Profile[] = [
  profile({
    name: 'step',
    title: '1, 2.5, 7x for 300 s each, then 0.3x',
    durationSeconds: 1500,
    turns: 1,
    load: follows(1500, (at) => {
      const { twoAndAHalf, seven, low } = STEP_AT_SECONDS;
      if (at < twoAndAHalf) return 1;
      if (at < seven) return 2.5;
      return at < low ? 7 : 0.3;
    }),
  }),
  profile({
    name: 'ramp',
    title: '1 to 8 to 1x over 2 x 600 s',
    durationSeconds: 2400,
    replicas: 2,
    measuredFromSeconds: SETTLE_SECONDS,
    turns: 1,
    load: follows(2400, (at) => 1 + 7 * Math.max(0, 1 - Math.abs(at - SETTLE_SECONDS - 600) / 600)),
  }),
  spike('spike', '10x for 60 s, unannounced'),
  { ...spike('open', "10x for 60 s at the market's open"), startsAt: BEFORE_THE_OPEN },
  profile({
    name: 'noisy-day',
    title: '0.8 to 5.2x in 2 h, 25 % noise, x2.5 bursts',
    durationSeconds: SETTLE_SECONDS + DAY_SECONDS,
    measuredFromSeconds: SETTLE_SECONDS,
    load: noisyDay,
  }),
  profile({
    name: 'constant',
    title: '5x for 1 h, from one busy pod',
    durationSeconds: 3660,
    measuredFromSeconds: 60,
    load: follows(3660, (at) => (at < 60 ? 0.8 : 5)),
  }),
  outage('store-away', 'store away for 120 s at 2.5x', 2.5, 120),
  outage('store-away-long', 'store away for 600 s at 4x', 4, 600),
  steady('prometheus-lost', 'Prometheus away for 300 s at 5x', 300, { metricsLost: { ...LOST, what: 'prometheus' } }),
  steady('metrics-lost', 'all scrapes fail for 300 s at 5x', 300, { metricsLost: { ...LOST, what: 'targets' } }),
  steady('store-slow', 'store slow and at half of 5x for 300 s', 300, { storeSlow: LOST }),
];

/** Noise of one deviation of 25 %, forgotten within 15 s, and every three minutes a burst of 5 to 10 s. */
function noisyDay(random: () => number): Float64Array {
  const kept = Math.exp(-STEP_SECONDS / NOISE_CORRELATION_SECONDS);
  const steps = (SETTLE_SECONDS + DAY_SECONDS) / STEP_SECONDS;
  const load = new Float64Array(steps);
  const burstAt = random() * BURST_EVERY_SECONDS;
  let noise = gaussian(random);
  let burst = { number: -1, seconds: 0 };
  for (let step = 0; step < steps; step += 1) {
    const seconds = step * STEP_SECONDS;
    const base = 3 - 2.2 * Math.cos((2 * Math.PI * Math.max(0, seconds - SETTLE_SECONDS)) / DAY_SECONDS);
    noise = kept * noise + Math.sqrt(1 - kept * kept) * gaussian(random);
    const sinceFirst = seconds - burstAt;
    const number = Math.floor(sinceFirst / BURST_EVERY_SECONDS);
    if (number !== burst.number) burst = { number, seconds: 5 + 5 * random() };
    const isBurst = sinceFirst >= 0 && sinceFirst - number * BURST_EVERY_SECONDS < burst.seconds;
    load[step] = base * Math.max(0, 1 + NOISE_SHARE * noise) * (isBurst ? BURST_FACTOR : 1);
  }
  return load;
}

/** Box and Muller. */
function gaussian(random: () => number): number {
  return Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
}
