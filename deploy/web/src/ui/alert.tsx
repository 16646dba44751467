import type { ReactNode } from "react";

/** A message that concerns a whole page or form. Screen readers say it when it appears. */
export function Alert({ kind, children }: { kind: "error" | "warning" | "success"; children: ReactNode }) {
  return (
    <div className={`alert ${kind}`} role={kind === "error" ? "alert" : "status"}>
      {children}
    </div>
  );
}
