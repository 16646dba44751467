import type { Root } from "react-dom/client";
import type { Session } from "../api/session";

/**
 * Wipes the page when it is left. The browser may keep it as it is, and show it again to the next person who goes back: with the
 * account, or with the password that was typed. What is shown then is loaded again.
 */
export function wipeWhenLeft(root: Root, session: Session, reload = () => location.reload()): void {
  window.addEventListener("pagehide", () => {
    root.unmount();
    session.end();
  });
  window.addEventListener("pageshow", ({ persisted }) => {
    if (persisted) {
      reload();
    }
  });
}
