import "./account.css";
import { type ReactNode, useEffect, useRef } from "react";

/** A page with its title. The title gets the focus when a link led here, which is gone with the page before. */
export function Page({ title, children }: { title: string; children: ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} · Haven`;
    if (document.activeElement === document.body) {
      heading.current?.focus();
    }
  }, [title]);
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {children}
    </>
  );
}
