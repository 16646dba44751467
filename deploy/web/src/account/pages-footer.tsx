import { FailureAlert } from "./failure-alert";
import type { Pages } from "./pages";

/** The end of a list that is read page by page: its state, and the button for more. */
export function PagesFooter<T>({ pages, more, none }: { pages: Pages<T>; more: string; none: string }) {
  return (
    <>
      {pages.items.length === 0 && !pages.isLoading && !pages.failure && <p>{none}</p>}
      <FailureAlert {...pages} isLive onRetry={pages.items.length > 0 && pages.hasMore ? pages.more : pages.reload} />
      <p role="status">{pages.isLoading ? "Loading…" : ""}</p>
      {pages.hasMore && !pages.failure && (
        <button type="button" className="secondary" aria-busy={pages.isLoading} onClick={pages.more}>
          {more}
        </button>
      )}
    </>
  );
}
