import "./account.css";
import { type ReactNode, useEffect, useRef } from "react";

interface PageProps {
  title: string;
  /** What changes when the page shows other parts. */
  state?: string;
  children: ReactNode;
}

/** A page with its title. The title gets the focus when what had it is gone: the link that led here, or a part of the page. */
export function Page({ title, state, children }: PageProps) {
  const heading = useRef<HTMLHeadingElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another state can take the focus away
  useEffect(() => {
    document.title = `${title} · Haven`;
    if (document.activeElement === document.body) {
      heading.current?.focus();
    }
  }, [title, state]);
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      {children}
    </>
  );
}
