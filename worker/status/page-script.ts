/**
 * What the page does by itself in a browser: refreshes its parts in place, and turns to unknown when it cannot. One
 * constant script, whose hash is in the page's security policy; without it the page reloads as a whole.
 */

/**
 * `main` carries the server's time when it was made, until when it is fresh, and how often to refresh. A page that
 * comes out of a cache, a sleeping machine or a wrong clock seems old: it is refreshed at once, and what the server
 * says then sets the clock right. Parts are replaced only when they differ, so that nothing moves or is read again.
 */
export const PAGE_SCRIPT = `
(() => {
  const main = document.querySelector('main');
  let offset = 0;
  let asking = false;
  const now = () => Date.now() - offset;
  const number = (name, from = main) => Number(from.dataset[name]);
  const unknown = () => {
    if (main.dataset.stale) return;
    main.dataset.stale = 'true';
    document.title = 'State unknown \\u00b7 market-data-pipeline status';
    for (const part of main.querySelectorAll('[data-now]')) {
      part.dataset.state = 'unknown';
      part.querySelector('.label').textContent = part.dataset.now;
      part.querySelector('use').setAttribute('href', '#i-unknown');
    }
    for (const text of main.querySelectorAll('[data-old]')) text.textContent = text.dataset.old;
  };
  const check = () => {
    if (now() >= number('freshUntil')) unknown();
  };
  const show = (next) => {
    for (const part of next.querySelectorAll('[data-part]')) {
      const old = main.querySelector('[data-part="' + part.dataset.part + '"]');
      if (!old) continue;
      if (old.dataset.state !== part.dataset.state && part.dataset.state) old.dataset.state = part.dataset.state;
      if (old.innerHTML !== part.innerHTML) old.replaceChildren(...document.importNode(part, true).childNodes);
    }
    for (const name of ['at', 'freshUntil', 'asOf']) main.dataset[name] = next.dataset[name];
    delete main.dataset.stale;
  };
  const refresh = async () => {
    if (asking) return;
    asking = true;
    try {
      const response = await fetch(location.pathname, { cache: 'no-store', signal: AbortSignal.timeout(10000) });
      const next = new DOMParser().parseFromString(await response.text(), 'text/html');
      const fresh = response.ok && next.querySelector('main[data-fresh-until]');
      if (fresh) {
        offset = Date.now() - number('at', fresh);
        show(fresh);
        document.title = next.title;
        document.querySelector('link[rel=icon]').href = next.querySelector('link[rel=icon]').href;
      }
    } catch {
      // what is shown grows old
    } finally {
      asking = false;
      check();
    }
  };
  let due = Date.now() + number('refresh');
  setInterval(() => {
    check();
    if (Date.now() < due && Date.now() > due - 2 * number('refresh')) return;
    due = Date.now() + number('refresh');
    void refresh();
  }, 1000);
  const comeBack = () => {
    if (document.visibilityState === 'visible' && Math.abs(now() - number('at')) > number('refresh')) void refresh();
  };
  document.addEventListener('visibilitychange', comeBack);
  addEventListener('pageshow', comeBack);
  addEventListener('online', () => void refresh());
})();
`;
