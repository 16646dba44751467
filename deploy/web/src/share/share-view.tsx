import { useEffect, useRef, useSyncExternalStore } from "react";
import { flushSync } from "react-dom";
import type { OpenShareResponse } from "../gen/haven/data/v1/share_pb";
import { Alert } from "../ui/alert";
import { Time } from "../ui/time";
import { ContentView } from "./content-view";
import { takeFragment } from "./fragment";
import { OpenForm } from "./open-form";
import type { ShareReader, ShareState } from "./share-reader";

/** The page of a share, in each of its states. */
export function ShareView({ reader }: { reader: ShareReader }) {
  const state = useSyncExternalStore(reader.subscribe, () => reader.state);
  useLink(reader);
  const opened = state.step === "opened";
  const title = opened ? "Shared content" : "Open a share";
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} – Haven`;
  }, [title]);
  const moved = ["opened", "undecryptable", "closed"].includes(state.step);
  useEffect(() => {
    // The button that was used is gone.
    if (moved) {
      heading.current?.focus();
    }
  }, [moved]);
  return (
    <>
      <h1 ref={heading} tabIndex={-1}>
        {title}
      </h1>
      <p role="status">{progressOf(state)}</p>
      <Step state={state} reader={reader} />
    </>
  );
}

/** Takes the link from the address bar, also one that is opened in this tab later, and wipes everything when the page is left. */
function useLink(reader: ShareReader): void {
  useEffect(() => {
    const receive = () => reader.receive(takeFragment());
    const { pathname } = window.location;
    // The browser may keep the page as it is, and show it again when the person goes back: so it is changed before that.
    const leave = () => flushSync(() => reader.close());
    receive();
    window.addEventListener("hashchange", receive);
    // Before the listener that takes the whole page away.
    window.addEventListener("pagehide", leave, { capture: true });
    return () => {
      window.removeEventListener("hashchange", receive);
      window.removeEventListener("pagehide", leave, { capture: true });
      // In development React mounts the page twice, at the same path.
      if (window.location.pathname !== pathname) {
        reader.close();
      }
      reader.abort();
    };
  }, [reader]);
}

function progressOf({ step }: ShareState): string {
  switch (step) {
    case "preparing":
      return "Loading what decrypts the content…";
    case "opening":
      return "Asking the service for the share…";
    case "decrypting":
      return "Decrypting the content on this device. This can take some seconds…";
    default:
      return "";
  }
}

function Step({ state, reader }: { state: ShareState; reader: ShareReader }) {
  switch (state.step) {
    case "reading":
      return null;
    case "no-link":
      return <NoLink malformed={state.malformed} />;
    case "ready":
    case "preparing":
    case "opening":
      return <OpenForm reader={reader} state={state} />;
    case "decrypting":
      return (
        <button type="button" className="secondary" onClick={() => reader.close()}>
          Cancel
        </button>
      );
    case "opened":
      return (
        <>
          <Times createTime={state.answer.createTime} expireTime={state.answer.expireTime} />
          <ContentView bytes={state.content} />
          <CloseButton reader={reader} />
          <p className="hint">
            The content is in this tab only, until you close it or leave the page. To see it again, open the link again,
            which uses another opening. A file that you save stays on this device.
          </p>
        </>
      );
    case "undecryptable":
      return <Undecryptable state={state} reader={reader} />;
    case "closed":
      return (
        <p>
          The share is closed. Nothing of it is left on this page. To see it again, open the link again, which uses
          another opening.
        </p>
      );
  }
}

function NoLink({ malformed }: { malformed: boolean }) {
  return malformed ? (
    <Alert kind="error">
      The link is not complete, or something was added to it. Copy the whole link from the message that you got, and
      open it again.
    </Alert>
  ) : (
    <p>
      This page needs the link that you were sent. If you have loaded the page again, open the link again: it is kept in
      no other place, so that no one else finds it here.
    </p>
  );
}

function Times({ createTime, expireTime }: Pick<OpenShareResponse, "createTime" | "expireTime">) {
  return (
    <dl className="times">
      <div>
        <dt>Shared</dt>
        <dd>
          <Time value={createTime} />
        </dd>
      </div>
      <div>
        <dt>The link ends</dt>
        <dd>
          <Time value={expireTime} />
        </dd>
      </div>
    </dl>
  );
}

function Undecryptable({
  state,
  reader,
}: {
  state: Extract<ShareState, { step: "undecryptable" }>;
  reader: ShareReader;
}) {
  return (
    <>
      <Alert kind="error">{reasonOf(state.code)}</Alert>
      {reader.canDecryptAgain && (
        <p>
          <button type="button" onClick={() => reader.decryptAgain()}>
            Try to decrypt again
          </button>{" "}
          This uses no opening.
        </p>
      )}
      <CloseButton reader={reader} />
    </>
  );
}

function CloseButton({ reader }: { reader: ShareReader }) {
  return (
    <p>
      <button type="button" onClick={() => reader.close()}>
        Close
      </button>
    </p>
  );
}

/** Why nothing is shown, and what helps. The service has counted an opening. */
function reasonOf(code: Extract<ShareState, { step: "undecryptable" }>["code"]): string {
  switch (code) {
    case "WRONG_KEY_OR_CHANGED":
      return "The content cannot be decrypted, so nothing of it is shown: the link is not the one that belongs to it, or the content was changed. Ask the person who sent the link for a new one.";
    case "MEMORY_LIMIT":
      return "The content cannot be decrypted here, because its key needs more memory than this page takes. Ask the person who sent the link for a share with a smaller need of memory.";
    case "OUT_OF_MEMORY":
      return "The content is not decrypted, because the browser did not give the memory for it. Close other tabs or programs, and try again.";
    case "NO_WEBCRYPTO":
      return "The content cannot be decrypted here, because this page was not loaded over HTTPS. Open the link with https:// at its beginning.";
    case "WORKER":
      return "The content is not decrypted, because the browser ended the work. Try again.";
    default:
      return "The content cannot be decrypted, because it was encrypted in a way that this page does not know. Ask the person who sent the link for a new one.";
  }
}
