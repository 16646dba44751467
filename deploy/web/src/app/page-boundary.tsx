import { Component, type ReactNode, useEffect, useRef } from "react";
import { Alert } from "../ui/alert";

interface PageBoundaryProps {
  /** Prepares another attempt. */
  onAgain: () => void;
  children: ReactNode;
}

/** Shows a message in place of a page that was not loaded, or that has failed. The session stays, and so does the navigation. */
export class PageBoundary extends Component<PageBoundaryProps, { hasFailed: boolean }> {
  override state = { hasFailed: false };

  static getDerivedStateFromError() {
    return { hasFailed: true };
  }

  override render() {
    return this.state.hasFailed ? <FailedPage onAgain={this.#again} /> : this.props.children;
  }

  #again = () => {
    this.props.onAgain();
    this.setState({ hasFailed: false });
  };
}

function FailedPage({ onAgain }: { onAgain: () => void }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = "The page cannot be shown · Haven";
    heading.current?.focus();
  }, []);
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>
        The page cannot be shown
      </h1>
      <Alert kind="error">
        <p>
          It was not loaded whole, or it has a defect. Check the connection, and load it again. That does not sign you
          out.
        </p>
        <p>If that does not help, reload the page in the browser. You then have to sign in again.</p>
      </Alert>
      <button type="button" onClick={onAgain}>
        Load this page again
      </button>
    </>
  );
}
