import { useEffect, useState } from "react";
import { useLocation } from "wouter";
import { useSignedIn } from "../api/session";
import { useSession } from "../app/session-context";
import type { Deletion } from "../gen/haven/identity/v1/account_pb";
import { AccountSection } from "./account-section";
import { AuditSection } from "./audit-section";
import { ConsentRequest } from "./consent-request";
import { ConsentsSection } from "./consents-section";
import { DeletionReceipt } from "./deletion-receipt";
import { DeletionSection } from "./deletion-section";
import { ExportSection } from "./export-section";
import { Page } from "./page";
import { SessionsSection } from "./sessions-section";
import { SignOutButton } from "./sign-out-button";

/**
 * The account of the signed-in person. Without the required consents it has what the server allows without them: a person who
 * does not agree can still take their data along, and go.
 */
export default function AccountPage() {
  const session = useSession();
  const signedIn = useSignedIn(session);
  const [deletion, setDeletion] = useState<Deletion>();
  const [, navigate] = useLocation();
  const isSignedOut = !signedIn && !deletion;
  useEffect(() => {
    if (isSignedOut) {
      navigate("/sign-in", { replace: true });
    }
  }, [isSignedOut, navigate]);

  if (deletion) {
    return <DeletionReceipt deletion={deletion} />;
  }
  if (!signedIn) {
    return null;
  }
  const hasConsents = signedIn.missingConsents.length === 0;
  return (
    <Page title="Account" state={hasConsents ? "whole" : "closed"}>
      <SignOutButton />
      {!hasConsents && <ConsentRequest missing={signedIn.missingConsents} />}
      {hasConsents && <AccountSection />}
      <SessionsSection />
      <ConsentsSection />
      {hasConsents && <AuditSection />}
      <ExportSection userId={signedIn.userId} />
      <DeletionSection onDeleted={setDeletion} />
    </Page>
  );
}
