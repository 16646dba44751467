import { useEffect, useState } from "react";
import { useLocation } from "wouter";
import { useSignedIn } from "../api/session";
import { useSession } from "../app/session-context";
import { AccountSection } from "./account-section";
import { AuditSection } from "./audit-section";
import { ConsentRequest } from "./consent-request";
import { ConsentsSection } from "./consents-section";
import { DeletionReceipt } from "./deletion-receipt";
import { DeletionSection } from "./deletion-section";
import type { DeletionStep } from "./deletion-step";
import { ExportSection } from "./export-section";
import { Page } from "./page";
import { SessionsSection } from "./sessions-section";
import { SignOutButton } from "./sign-out-button";
import { UndecidedDeletion } from "./undecided-deletion";

/**
 * The account of the signed-in person. Without the required consents it has what the server allows without them: a person who
 * does not agree can still take their data along, and go.
 *
 * While a deletion has no answer, the page stays, and its other parts go: a call of theirs would find that there is no account,
 * and end the session, with which the receipt is asked for again.
 */
export default function AccountPage() {
  const session = useSession();
  const signedIn = useSignedIn(session);
  const [deletion, setDeletion] = useState<DeletionStep>({ step: "none" });
  const [, navigate] = useLocation();
  const isLeft =
    !signedIn && deletion.step !== "deleted" && (deletion.step === "none" || session.lastEnd === "SIGNED_OUT");
  useEffect(() => {
    if (isLeft) {
      navigate("/sign-in", { replace: true });
    }
  }, [isLeft, navigate]);

  if (deletion.step === "deleted") {
    return <DeletionReceipt deletion={deletion.receipt} />;
  }
  if (isLeft) {
    return null;
  }
  if (!signedIn && deletion.step === "undecided") {
    return <UndecidedDeletion />;
  }
  const shown = deletion.step === "undecided" ? undefined : signedIn;
  const hasConsents = shown?.missingConsents.length === 0;
  return (
    <Page title="Account" state={!shown ? "deletion" : hasConsents ? "whole" : "closed"}>
      <SignOutButton />
      {shown && !hasConsents && <ConsentRequest missing={shown.missingConsents} />}
      {hasConsents && <AccountSection />}
      {shown && <SessionsSection />}
      {shown && <ConsentsSection />}
      {hasConsents && <AuditSection />}
      {shown && <ExportSection userId={shown.userId} />}
      {deletion.step === "undecided" && (
        <p>The account may be deleted already. The rest of this page is closed until the deletion has an answer.</p>
      )}
      <DeletionSection onStep={setDeletion} />
    </Page>
  );
}
