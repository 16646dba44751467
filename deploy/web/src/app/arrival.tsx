import { type RefObject, useEffect } from "react";

interface ArrivalProps {
  path: string;
  /** The path that was shown last; undefined before the first one. */
  last: RefObject<string | undefined>;
}

/**
 * Moves the focus to the title of a page that is shown in place of another one, so that a screen reader says where the person
 * is. It is rendered after the page: what the page gives the focus itself keeps it.
 */
export function Arrival({ path, last }: ArrivalProps) {
  useEffect(() => {
    const isOther = last.current !== undefined && last.current !== path;
    last.current = path;
    const heading = document.querySelector<HTMLElement>("#content h1");
    if (isOther && heading && !document.querySelector("#content :focus")) {
      heading.tabIndex = -1;
      heading.focus();
    }
  }, [path, last]);
  return null;
}
