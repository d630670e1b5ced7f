/** `mdp push FILE` is the replay under its other name. */

import { replayCommand, replayHelp } from '../replay/main.ts';
import type { Command } from './command.ts';

const CALLED = 'npx mdp push';

export const command: Command = { help: replayHelp(CALLED), run: (args) => replayCommand(args, CALLED) };
