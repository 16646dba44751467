import type { ReactNode } from "react";
import { Link, useLocation } from "wouter";
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
            <PageLink path="/account">Account</PageLink>
          ) : (
            <>
              <PageLink path="/">Sign up</PageLink>
              <PageLink path="/sign-in">Sign in</PageLink>
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

/** A link of the navigation, which says when its page is the one that is shown. */
function PageLink({ path, children }: { path: string; children: ReactNode }) {
  const [shown] = useLocation();
  return (
    <Link href={path} aria-current={shown === path ? "page" : undefined}>
      {children}
    </Link>
  );
}

/** The fragment stays as it is: on some pages it holds a secret. */
function focusContent(event: React.MouseEvent) {
  event.preventDefault();
  document.getElementById("content")?.focus();
}
