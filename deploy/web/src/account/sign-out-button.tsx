import { useState } from "react";
import { useSession } from "../app/session-context";

/** Signs out. The tokens are forgotten in any case, also when the service cannot be reached. */
export function SignOutButton() {
  const session = useSession();
  const [isBusy, setBusy] = useState(false);
  return (
    <button
      type="button"
      className="secondary"
      aria-busy={isBusy}
      onClick={() => {
        setBusy(true);
        // Without an answer the session is over here, and ends on the server by its age.
        session.signOut().catch(() => undefined);
      }}
    >
      {isBusy ? "Signing out…" : "Sign out"}
    </button>
  );
}
