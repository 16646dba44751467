import type { ReactNode } from "react";
import { Link } from "wouter";
import { useSignedIn } from "../api/session";
import { useSession } from "./session-context";

/** The frame of every page: a link to its content for the keyboard, the navigation, and the content. */
export function Layout({ children }: { children: ReactNode }) {
  const signedIn = useSignedIn(useSession());
  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: it is a link within the page, and must not change the fragment */}
      <a className="skip" href="#content" onClick={focusContent}>
        Skip to the content
      </a>
      <header>
        <nav aria-label="Pages">
          <strong>Haven</strong>
          {signedIn ? (
            <Link href="/account">Account</Link>
          ) : (
            <>
              <Link href="/">Sign up</Link>
              <Link href="/sign-in">Sign in</Link>
            </>
          )}
        </nav>
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
    </>
  );
}

/** The fragment stays as it is: on some pages it holds a secret. */
function focusContent(event: React.MouseEvent) {
  event.preventDefault();
  document.getElementById("content")?.focus();
}
