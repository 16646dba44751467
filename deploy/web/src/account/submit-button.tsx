import type { ReactNode } from "react";
import { useCountdown } from "../ui/countdown";
import type { Action } from "./action";

interface SubmitButtonProps {
  action: Action;
  className?: string;
  /** What the button says while the call is in progress. */
  busy: string;
  children: ReactNode;
}

/**
 * The button of a form. It stays enabled while the call is in progress, so that the focus stays on it: the action ignores a
 * second click. It is disabled while the server refuses attempts.
 */
export function SubmitButton({ action, className, busy, children }: SubmitButtonProps) {
  const seconds = useCountdown(action.waitEnd);
  return (
    <button type="submit" className={className} disabled={seconds > 0} aria-busy={action.isBusy}>
      {action.isBusy ? busy : children}
    </button>
  );
}
