#!/usr/bin/env bash
# React keeps the content of a page that was left in the document until the next page is loaded.
#
# Expected: a router renders another page in place of the first, so the first is unmounted: its elements leave the document, and its
# effects are cleaned up. With `lazy` pages the reader sees the fallback of <Suspense> until the next page has arrived.
#
# What happens: the reader sees the fallback, but the elements of the first page stay in the document with `display: none`, and its
# effects (useEffect) are not cleaned up, until the next page has arrived: for ever, if its file never comes. A component that wipes a
# decrypted content when it is unmounted does not wipe it. A <Suspense> with the path as its key is another boundary on each page, and
# the first one is unmounted at once. Haven's pages have such a key.
set -euo pipefail

readonly REACT=19.2.9 JSDOM=29.1.1

temp=$(mktemp -d)
trap 'rm -rf "$temp"' EXIT
cd "$temp"

npm init --yes > /dev/null
npm install --silent --no-audit --no-fund "react@$REACT" "react-dom@$REACT" "jsdom@$JSDOM"

cat > pages.cjs <<'JS'
const assert = require('node:assert');
const { JSDOM } = require('jsdom');
const { window } = new JSDOM('<div id="root"></div>');
Object.assign(globalThis, { window, document: window.document, navigator: window.navigator });
const { createElement, lazy, Suspense, useEffect, useState, version } = require('react');
const { createRoot } = require('react-dom/client');

const pause = () => new Promise((resolve) => setTimeout(resolve, 600));

async function leave(hasKey) {
  const root = document.getElementById('root');
  let go, arrive, wiped = false;
  const First = () => {
    useEffect(() => () => { wiped = true; }, []);
    return createElement('p', null, 'decrypted content');
  };
  const Next = lazy(() => new Promise((resolve) => {
    arrive = () => resolve({ default: () => createElement('p', null, 'next page') });
  }));
  const App = () => {
    const [path, setPath] = useState('/first');
    go = setPath;
    const key = hasKey ? path : undefined;
    const page = createElement(path === '/first' ? First : Next);
    return createElement(Suspense, { key, fallback: createElement('p', null, 'loading') }, page);
  };
  const app = createRoot(root);
  app.render(createElement(App));
  await pause();
  go('/next');
  await pause();
  const during = { html: root.innerHTML, wiped };
  arrive();
  await pause();
  const after = { html: root.innerHTML, wiped };
  app.unmount();
  return { during, after };
}

(async () => {
  console.log(`React ${version}`);
  const plain = await leave(false);
  console.log('while the next page loads:', plain.during);
  console.log('when it has arrived:', plain.after);
  assert.match(plain.during.html, /display: none.*decrypted content.*loading/);
  assert.strictEqual(plain.during.wiped, false);
  assert.deepStrictEqual(plain.after, { html: '<p>next page</p>', wiped: true });

  const keyed = await leave(true);
  console.log('while the next page loads, with a key:', keyed.during);
  assert.deepStrictEqual(keyed.during, { html: '<p>loading</p>', wiped: true });
})();
JS
node pages.cjs
