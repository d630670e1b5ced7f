/** Every scenario of the fault harness, by what goes wrong. */

import { CLOCKS } from './clocks.ts';
import { DISKS } from './disks.ts';
import { NETWORKS } from './networks.ts';
import { PROCESSES } from './processes.ts';
import type { Scenario } from './scenario.ts';

export const SCENARIOS: readonly Scenario[] = [...PROCESSES, ...DISKS, ...CLOCKS, ...NETWORKS];
