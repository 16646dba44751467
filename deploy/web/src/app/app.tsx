import { lazy, Suspense } from "react";
import { Route, Switch, useLocation } from "wouter";
import { SignUpPage } from "../sign-up/sign-up-page";
import { Layout } from "./layout";
import { NotFoundPage } from "./not-found-page";

// Each is loaded when it is opened, so that the sign-up page stays small.
const SignInPage = lazy(() => import("../account/sign-in-page"));
const AccountPage = lazy(() => import("../account/account-page"));
const ResetPasswordPage = lazy(() => import("../account/reset-password-page"));
const VerifyEmailPage = lazy(() => import("../account/verify-email-page"));
const ConfirmEmailPage = lazy(() => import("../account/confirm-email-page"));
const UndoEmailPage = lazy(() => import("../account/undo-email-page"));
const SharePage = lazy(() => import("../share/share-page"));

/** The pages by their paths. Tokens of links are in the fragment, which is sent to no server. */
export function App() {
  const [path] = useLocation();
  return (
    <Layout>
      {/* With the key, a page that was left is gone at once. Without it, it stays, hidden, until the next one is loaded. */}
      <Suspense key={path} fallback={<p role="status">Loading…</p>}>
        <Switch>
          <Route path="/" component={SignUpPage} />
          <Route path="/sign-in" component={SignInPage} />
          <Route path="/account" component={AccountPage} />
          <Route path="/reset-password" component={ResetPasswordPage} />
          <Route path="/verify-email" component={VerifyEmailPage} />
          <Route path="/confirm-email" component={ConfirmEmailPage} />
          <Route path="/undo-email" component={UndoEmailPage} />
          <Route path="/share" component={SharePage} />
          <Route component={NotFoundPage} />
        </Switch>
      </Suspense>
    </Layout>
  );
}
