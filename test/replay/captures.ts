/** Where the real captures are, and what a test says when they are not there. */

import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type CaptureEvent, readCapture } from '../../deploy/replay/capture/capture.ts';

const DIRECTORY = join(import.meta.dirname, '../../../shared/data');

/** Whether the captures can be read; tests of them are skipped by name when not. */
export const noCaptures = !existsSync(join(DIRECTORY, 'README.md'));
/** Ends the name of each such test, so that a skipped one tells why. */
export const NEEDS = noCaptures ? ' (skipped: ../shared/data is not there)' : '';

export function captureFile(name: string): string {
  return join(DIRECTORY, name);
}

export async function eventsOf(file: string): Promise<CaptureEvent[]> {
  const all: CaptureEvent[] = [];
  for await (const events of readCapture(file)) for (const event of events) all.push(event);
  return all;
}

/** A directory that is gone when the test is. */
export function temporaryDirectory(): Disposable & {
  path: string;
  write: (name: string, content: string | Uint8Array) => string;
} {
  const path = mkdtempSync(join(tmpdir(), 'replay-'));
  return {
    path,
    write: (name, content) => {
      const file = join(path, name);
      writeFileSync(file, content);
      return file;
    },
    [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }),
  };
}
