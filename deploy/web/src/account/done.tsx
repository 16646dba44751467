import { type ReactNode, useEffect, useRef } from "react";
import { Alert } from "../ui/alert";

/** Says that a form has done its work. It takes the form's place, and so its focus. */
export function Done({ children }: { children: ReactNode }) {
  const container = useRef<HTMLDivElement>(null);
  useEffect(() => container.current?.focus(), []);
  return (
    <Alert ref={container} kind="success">
      {children}
    </Alert>
  );
}
