import { type ReactNode, type Ref, useId } from "react";

interface AlertProps {
  kind: "error" | "warning" | "success";
  /** Given where the message gets the focus. */
  ref?: Ref<HTMLDivElement>;
  children: ReactNode;
}

/**
 * A message that concerns a whole page or form. Screen readers say it when it appears; one with a `ref`, when it gets the focus: with
 * a live role they would say it twice.
 */
export function Alert({ kind, ref, children }: AlertProps) {
  const id = useId();
  return ref ? (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields
    <div ref={ref} id={id} className={`alert ${kind}`} role="group" aria-labelledby={id} tabIndex={-1}>
      {children}
    </div>
  ) : (
    <div className={`alert ${kind}`} role={kind === "error" ? "alert" : "status"}>
      {children}
    </div>
  );
}
