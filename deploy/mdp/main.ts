/**
 * `mdp`: the command line for whoever runs, checks and feeds the system. Finds the command, and turns wrong usage into
 * exit code 2; everything else is the command's own.
 */

import { type Command, EXIT_OK, EXIT_USAGE, UsageError } from './command.ts';

/** Loaded when asked for, so that none waits for what another needs. */
const COMMANDS: Readonly<Record<string, { summary: string; load: () => Promise<{ command: Command }> }>> = {
  verify: {
    summary: 'checks a rollout step by step, as the runbook does, and says what to do next',
    load: () => import('./verify/command.ts'),
  },
  push: { summary: 'pushes a capture of market data, as its provider would', load: () => import('./push.ts') },
  tail: { summary: 'shows the newest stored ticks of a provider, and goes on', load: () => import('./tail.ts') },
  top: { summary: 'shows live what a pod does for each provider', load: () => import('./top.ts') },
  'dead-letters': {
    summary: 'lists the ticks that were rejected, and offers them once more',
    load: () => import('./dead-letters.ts'),
  },
  config: { summary: 'checks the settings of pod and Worker, all at once', load: () => import('./config.ts') },
};

const HELP = `Runs, checks and feeds market-data-pipeline.

  npx mdp COMMAND …        (or: npm run mdp -- COMMAND …)

${Object.entries(COMMANDS)
  .map(([name, { summary }]) => `  ${name.padEnd(14)}${summary}`)
  .join('\n')}

Each has --help, which tells the rest, and --json for programs. Addresses are those of "npm start" unless given.
Colours are for terminals, and not when NO_COLOR is set.

Exit codes: 0 well; 1 not well, and the output says what; 2 wrong usage; 130 a push that Ctrl-C stopped.

Start with
  npm start                              in one terminal
  npx mdp verify --only pod,edge         in another: is it all there?
  npx mdp top                            and what does it do?
`;

process.exitCode = await main(process.argv.slice(2));

async function main([name, ...args]: string[]): Promise<number> {
  if (name === undefined || name === '--help' || name === '-h' || name === 'help') {
    process.stdout.write(HELP);
    return name === undefined ? EXIT_USAGE : EXIT_OK;
  }
  const found = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (found === undefined) return usage('mdp', `there is no command ${JSON.stringify(name)}`);
  const { command } = await found.load();
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(command.help);
    return EXIT_OK;
  }
  try {
    return await command.run(args);
  } catch (error) {
    // What parseArgs has against its arguments is usage, too.
    const isUsage = error instanceof UsageError || (error instanceof TypeError && 'code' in error);
    if (isUsage) return usage(`mdp ${name}`, error.message);
    throw error;
  }
}

function usage(command: string, why: string): number {
  process.stderr.write(`${command}: ${why}\nSee npx ${command} --help\n`);
  return EXIT_USAGE;
}
