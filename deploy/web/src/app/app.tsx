import { Suspense, useRef } from "react";
import { Route, Switch, useLocation } from "wouter";
import { SignUpPage } from "../sign-up/sign-up-page";
import { Arrival } from "./arrival";
import { Layout } from "./layout";
import { forgetPages, type Load, LoadedPage } from "./loaded-page";
import { NotFoundPage } from "./not-found-page";
import { PageBoundary } from "./page-boundary";

const loads: [path: string, load: Load][] = [
  ["/sign-in", () => import("../account/sign-in-page")],
  ["/account", () => import("../account/account-page")],
  ["/reset-password", () => import("../account/reset-password-page")],
  ["/verify-email", () => import("../account/verify-email-page")],
  ["/confirm-email", () => import("../account/confirm-email-page")],
  ["/undo-email", () => import("../account/undo-email-page")],
  ["/share", () => import("../share/share-page")],
];

/** The pages by their paths. Tokens of links are in the fragment, which is sent to no server. */
export function App() {
  const [path] = useLocation();
  const last = useRef<string>(undefined);
  const prepare = () => {
    forgetPages();
    // The button that had the focus goes away: the title of the page gets it.
    last.current = "";
  };
  return (
    <Layout>
      {/* With the key, a page that was left is gone at once. Without it, it stays, hidden, until the next one is loaded. */}
      <PageBoundary key={path} onAgain={prepare}>
        <Suspense fallback={<p role="status">Loading…</p>}>
          <Switch>
            <Route path="/" component={SignUpPage} />
            {loads.map(([path, load]) => (
              <Route key={path} path={path}>
                <LoadedPage load={load} />
              </Route>
            ))}
            <Route component={NotFoundPage} />
          </Switch>
          <Arrival path={path} last={last} />
        </Suspense>
      </PageBoundary>
    </Layout>
  );
}
