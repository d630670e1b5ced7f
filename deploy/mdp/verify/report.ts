/** Results of the checks as text for people and as JSON for programs. Pure, but for the colours of a terminal. */

import { styleText } from 'node:util';
import { type Result, type StepName, STEPS } from './checks.ts';

export interface Report {
  ok: boolean;
  passed: number;
  failed: number;
  skipped: number;
  checks: Result[];
}

/** A skipped check is no failure: the report says that nobody looked. */
export function reportOf(checks: Result[]): Report {
  const count = (outcome: Result['outcome']): number => checks.filter((one) => one.outcome === outcome).length;
  const failed = count('fail');
  return { ok: failed === 0, passed: count('pass'), failed, skipped: count('skip'), checks };
}

export function reportText({ checks, passed, failed, skipped }: Report, stream: NodeJS.WriteStream): string {
  const paint = (style: Parameters<typeof styleText>[0], text: string): string => styleText(style, text, { stream });
  const titleChars = Math.max(0, ...checks.map(({ title }) => title.length));
  const lines: string[] = [];
  for (const step of Object.keys(STEPS) as StepName[]) {
    const ofStep = checks.filter((one) => one.step === step);
    if (ofStep.length > 0) lines.push('', paint('bold', STEPS[step]));
    for (const one of ofStep) lines.push(...resultLines(one, titleChars, paint));
  }
  const total = `${passed} passed, ${failed} failed, ${skipped} skipped`;
  return `${lines.join('\n')}\n\n${paint(failed === 0 ? 'green' : 'red', total)}\n`;
}

type Paint = (style: Parameters<typeof styleText>[0], text: string) => string;

function resultLines({ outcome, title, fact, next, chapter }: Result, titleChars: number, paint: Paint): string[] {
  const word = { pass: paint('green', 'pass'), fail: paint(['red', 'bold'], 'FAIL'), skip: paint('dim', 'skip') }[
    outcome
  ];
  const shown = `  ${word}  ${title.padEnd(titleChars)}  ${outcome === 'fail' ? fact : paint('dim', fact)}`;
  if (outcome !== 'fail') return [shown];
  return [shown, `        next  ${next}`, `        see   ${chapter}`];
}
