/**
 * A real Chromium for one test file, driven over its DevTools protocol: pages opened, watched, pictured and asked.
 * Needs an installed Chromium and nothing else; `CHROMIUM` is undefined where there is none.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const START_TIMEOUT_MS = 30_000;
const COMMAND_TIMEOUT_MS = 15_000;
const PLACES = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The browser's program; Debian's package is `chromium`. */
export const CHROMIUM = PLACES.find((place) => existsSync(place));
/** Beside the name of a test that is skipped without it. */
export const NEEDS_CHROMIUM = CHROMIUM === undefined ? ' (needs Chromium)' : '';

export interface PageOptions {
  width?: number;
  height?: number;
  scheme?: 'light' | 'dark';
  /** False: the page's scripts do not run. */
  scripts?: boolean;
}

type Facts = Record<string, unknown>;

/** Invariant: not running any more after it was disposed of. */
export class Browser implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #directory: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, { resolve: (result: Facts) => void; reject: (cause: Error) => void }>();
  readonly #pages = new Map<string, BrowserPage>();
  #lastId = 0;

  private constructor(child: ChildProcess, directory: string, socket: WebSocket) {
    this.#child = child;
    this.#directory = directory;
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => this.#take(JSON.parse(String(data)) as Facts));
  }

  static async start(): Promise<Browser> {
    if (CHROMIUM === undefined) throw new Error('there is no Chromium');
    const directory = await mkdtemp(join(tmpdir(), 'mdp-browser-'));
    const flags = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run'];
    const quiet = ['--disable-background-networking', '--disable-component-update', '--disable-extensions'];
    const own = ['--remote-debugging-port=0', `--user-data-dir=${directory}`, 'about:blank'];
    const child = spawn(CHROMIUM, [...flags, ...quiet, ...own], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const kill = (): void => signalGroup(child);
    process.once('exit', kill);
    child.once('exit', () => process.removeListener('exit', kill));
    try {
      const socket = new WebSocket(await debuggerAddress(child));
      await new Promise((resolve, reject) => {
        socket.addEventListener('open', resolve);
        socket.addEventListener('error', () => reject(new Error('the browser does not take commands')));
      });
      return new Browser(child, directory, socket);
    } catch (cause) {
      kill();
      throw cause;
    }
  }

  /** A blank page in a context of its own: no cache, no cookie of another. */
  async page({ width = 1100, height = 900, scheme = 'light', scripts = true }: PageOptions = {}): Promise<BrowserPage> {
    const { browserContextId } = await this.send('Target.createBrowserContext', {});
    const { targetId } = await this.send('Target.createTarget', {
      url: 'about:blank',
      browserContextId,
      width,
      height,
    });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new BrowserPage(this, String(sessionId));
    this.#pages.set(String(sessionId), page);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network', 'Accessibility']) await page.send(`${domain}.enable`);
    const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
    await page.send('Network.setCacheDisabled', { cacheDisabled: true });
    await page.send('Emulation.setDeviceMetricsOverride', metrics);
    await page.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
    if (!scripts) await page.send('Emulation.setScriptExecutionDisabled', { value: true });
    return page;
  }

  send(method: string, params: Facts, sessionId?: string): Promise<Facts> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => settle(() => reject(new Error(`${method} was not answered`))), COMMAND_TIMEOUT_MS);
      const settle = (end: () => void): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        end();
      };
      this.#waiting.set(id, {
        resolve: (result) => settle(() => resolve(result)),
        reject: (cause) => settle(() => reject(cause)),
      });
      this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#socket.close();
    signalGroup(this.#child);
    if (this.#child.exitCode === null && this.#child.signalCode === null) await ended;
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  #take(message: Facts): void {
    const waiting = this.#waiting.get(message['id'] as number);
    if (waiting === undefined) {
      this.#pages.get(String(message['sessionId']))?.note(String(message['method']), message['params'] as Facts);
    } else if (message['error'] === undefined) {
      waiting.resolve(message['result'] as Facts);
    } else {
      waiting.reject(new Error(JSON.stringify(message['error'])));
    }
  }
}

/** One tab. `complaints` are its console errors, exceptions, and what its security policy refused. */
export class BrowserPage {
  readonly complaints: string[] = [];
  readonly #browser: Browser;
  readonly #sessionId: string;
  #onLoad: (() => void)[] = [];

  constructor(browser: Browser, sessionId: string) {
    this.#browser = browser;
    this.#sessionId = sessionId;
  }

  send(method: string, params: Facts = {}): Promise<Facts> {
    return this.#browser.send(method, params, this.#sessionId);
  }

  /** Resolves when the page and all it needs has loaded. */
  async open(url: string): Promise<void> {
    const loaded = this.loaded();
    const { errorText } = await this.send('Page.navigate', { url });
    if (errorText !== undefined) throw new Error(`${url}: ${JSON.stringify(errorText)}`);
    await loaded;
  }

  /** Resolves at the next end of loading. */
  loaded(): Promise<void> {
    return new Promise((resolve) => this.#onLoad.push(resolve));
  }

  /** The value of an expression, awaited; throws what it throws. */
  async evaluate<Value>(expression: string): Promise<Value> {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = (await this.send('Runtime.evaluate', params)) as {
      result: { value: Value };
      exceptionDetails?: object;
    };
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  }

  async press(key: string, modifiers = 0): Promise<void> {
    const params = { key, code: key, windowsVirtualKeyCode: key === 'Tab' ? 9 : 13, modifiers };
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...params });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...params });
  }

  /** The whole page as PNG. */
  async picture(): Promise<Buffer> {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true });
    return Buffer.from(String(data), 'base64');
  }

  /** What a screen reader is told: role and name of each node that is not ignored, in reading order. */
  async spoken(): Promise<{ role: string; name: string }[]> {
    const { nodes } = (await this.send('Accessibility.getFullAXTree')) as { nodes: AccessibleNode[] };
    const byId = new Map(nodes.map((node) => [node.nodeId, node]));
    const spoken: { role: string; name: string }[] = [];
    const read = (node: AccessibleNode | undefined): void => {
      if (node === undefined) return;
      if (!node.ignored) spoken.push({ role: node.role?.value ?? '', name: node.name?.value ?? '' });
      for (const child of node.childIds ?? []) read(byId.get(child));
    };
    read(nodes[0]);
    return spoken;
  }

  note(method: string, params: Facts): void {
    if (method === 'Page.loadEventFired') for (const resolve of this.#onLoad.splice(0)) resolve();
    if (method === 'Runtime.exceptionThrown') this.complaints.push(JSON.stringify(params['exceptionDetails']));
    if (method === 'Runtime.consoleAPICalled' && ['error', 'warning'].includes(String(params['type']))) {
      this.complaints.push(JSON.stringify(params['args']));
    }
    if (method === 'Log.entryAdded') {
      const { level, text } = params['entry'] as { level: string; text: string };
      if (level === 'error' || level === 'warning') this.complaints.push(text);
    }
  }
}

interface AccessibleNode {
  nodeId: string;
  childIds?: string[];
  ignored: boolean;
  role?: { value: string };
  name?: { value: string };
}

function debuggerAddress(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const said: string[] = [];
    const fail = (why: string): void => reject(new Error(`${why}:\n${said.join('\n')}`));
    const timer = setTimeout(() => fail('the browser did not start in time'), START_TIMEOUT_MS);
    child.once('exit', () => fail('the browser ended'));
    createInterface({ input: child.stderr! }).on('line', (line) => {
      if (said.push(line) > 50) said.shift();
      const address = /^DevTools listening on (ws:\S+)$/.exec(line)?.[1];
      if (address === undefined) return;
      clearTimeout(timer);
      resolve(address);
    });
  });
}

function signalGroup(child: ChildProcess): void {
  try {
    process.kill(-child.pid!, 'SIGKILL');
  } catch {
    // it has ended already
  }
}
