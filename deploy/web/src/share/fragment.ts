/**
 * Takes the fragment out of the address bar, so that it is neither seen nor copied nor kept with the page. Returns undefined when
 * there is none. What was taken exists in memory alone: after a reload, the link has to be opened again.
 */
export function takeFragment(): string | undefined {
  const { hash, pathname } = window.location;
  if (hash === "") {
    return undefined;
  }
  window.history.replaceState(window.history.state, "", pathname);
  return hash;
}
