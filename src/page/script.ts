/**
 * The page's only script. Every 10 s it gets the page anew and puts the new content in place, so that the place, opened
 * lines and the keyboard's focus stay. If nobody answers it says so, because an old page looks like a calm one.
 */
export const script = `
(() => {
  const page = document.documentElement;
  page.classList.add('js');
  let isHeld = false;
  const hold = document.querySelector('[data-hold]');
  hold.addEventListener('click', () => {
    isHeld = !isHeld;
    hold.textContent = isHeld ? 'Reload again' : 'Stop reloading';
    if (!isHeld) reload();
  });
  document.addEventListener('click', async ({ target }) => {
    if (!target.matches('[data-copy]')) return;
    const code = target.parentElement.querySelector('code');
    try {
      await navigator.clipboard.writeText(code.textContent);
      target.textContent = 'Copied';
    } catch {
      getSelection().selectAllChildren(code);
    }
  });
  function put(fresh, selector) {
    const old = document.querySelector(selector);
    const found = fresh.querySelector(selector);
    if (old && found) old.replaceWith(document.adoptNode(found));
  }
  async function reload() {
    if (isHeld || document.hidden || !getSelection().isCollapsed) return;
    const note = document.querySelector('[data-stale]');
    try {
      const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, signal: AbortSignal.timeout(30000) });
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
      if (!fresh.querySelector('main')) throw new Error('no page');
      const focused = document.activeElement?.closest('main a[href]')?.getAttribute('href');
      put(fresh, 'main');
      put(fresh, '[data-at]');
      put(fresh, '[rel=icon]');
      document.title = fresh.title;
      note.textContent = '';
      if (focused) document.querySelector('main a[href="' + CSS.escape(focused) + '"]')?.focus({ preventScroll: true });
    } catch {
      note.textContent = 'Not up to date: no answer.';
    }
  }
  setInterval(reload, 10000);
  document.addEventListener('visibilitychange', reload);
})();
`;
