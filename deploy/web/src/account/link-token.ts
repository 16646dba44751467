import { useEffect, useState } from "react";

/**
 * Returns the token of the link that opened the page; empty without one. The token is in the fragment, which no request
 * contains, and is removed from the address bar and from the history as soon as it was read. Nothing is sent here: mail
 * scanners that open the link use up no token.
 */
export function useLinkToken(): string {
  const [token, setToken] = useState(readFragment);
  useEffect(() => {
    // A second link that is opened in the same tab changes the fragment alone, and loads no page.
    const take = () => {
      const read = readFragment();
      if (read !== "") {
        setToken(read);
        history.replaceState(history.state, "", location.pathname);
      }
    };
    take();
    addEventListener("hashchange", take);
    return () => removeEventListener("hashchange", take);
  }, []);
  return token;
}

function readFragment(): string {
  return location.hash.slice(1);
}
