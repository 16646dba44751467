import { useEffect, useRef, useState } from "react";
import { accountClients } from "../api/account-clients";
import { type Failure, failureOf } from "../api/failure";
import { useSession } from "../app/session-context";
import { Alert } from "../ui/alert";
import { Done } from "./done";
import { type ExportFile, type ExportProgress, ExportRun, IncompleteExport } from "./export/export-run";
import { exportSources } from "./export/export-source";
import { totalOf } from "./export/exported-rows";
import { FailureAlert } from "./failure-alert";
import { FileLink } from "./file-link";
import { Section } from "./section";

type State =
  | { step: "idle" }
  | { step: "running"; progress: ExportProgress | undefined }
  /** Some of it may have arrived, and is continued. */
  | { step: "failed"; failure: Failure; waitEnd: number | undefined }
  | { step: "incomplete"; differences: string[] }
  | { step: "done"; file: ExportFile };

/** The export of everything that both services store, as one file that is made in the page. */
export function ExportSection({ userId }: { userId: string }) {
  const session = useSession();
  const [state, setState] = useState<State>({ step: "idle" });
  const run = useRef<ExportRun>(undefined);
  const abort = useRef<AbortController>(undefined);
  const message = useRef<HTMLDivElement>(null);
  const incomplete = useRef<HTMLDivElement>(null);
  useEffect(() => () => abort.current?.abort(), []);
  useEffect(() => {
    if (state.step === "failed" || state.step === "incomplete") {
      message.current?.querySelector<HTMLElement>(".alert")?.focus();
    }
  }, [state.step]);

  const go = async () => {
    const controller = new AbortController();
    abort.current = controller;
    const { signal } = controller;
    run.current ??= new ExportRun({
      sources: exportSources(accountClients(session)),
      userId,
      renew: () => session.renew(),
      onProgress: (progress) => setState({ step: "running", progress }),
    });
    setState({ step: "running", progress: undefined });
    try {
      setState({ step: "done", file: await run.current.run(signal) });
      run.current = undefined;
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (error instanceof IncompleteExport) {
        run.current = undefined;
        setState({ step: "incomplete", differences: error.differences });
        return;
      }
      const failure = failureOf(error);
      const { reason, retryAfter } = failure;
      if (reason === "PAGE_TOKEN_INVALID") {
        run.current = undefined;
      }
      if (["SESSION_REVOKED", "TOKEN_INVALID"].includes(reason)) {
        session.end();
      }
      setState({ step: "failed", failure, waitEnd: retryAfter === undefined ? undefined : Date.now() + retryAfter });
    }
  };
  const cancel = () => {
    abort.current?.abort();
    run.current = undefined;
    setState({ step: "idle" });
  };
  const isRunning = state.step === "running";
  return (
    <Section title="Export">
      <p>
        One JSON file with everything that both services store about you. What your devices encrypted is in it as it is:
        only they have the keys. The file is not encrypted: keep it in a safe place.
      </p>
      {(state.step === "idle" || isRunning) && (
        <button type="button" onClick={isRunning ? cancel : go}>
          {isRunning ? "Cancel the export" : "Export everything"}
        </button>
      )}
      <p role="status">{isRunning ? stepOf(state.progress) : ""}</p>
      {isRunning && (
        <>
          <progress aria-label="Export" />
          <p>{countOf(state.progress)}</p>
        </>
      )}
      <div ref={message}>
        {state.step === "failed" && (
          <>
            <FailureAlert
              {...state}
              sentences={{
                ...SENTENCES,
                ...(run.current === undefined && {
                  PAGE_TOKEN_INVALID: "The export cannot be continued. Start it again.",
                }),
              }}
              onRetry={go}
            />
            <button type="button" className="secondary" onClick={cancel}>
              Give up
            </button>
          </>
        )}
        {state.step === "incomplete" && (
          <>
            <Alert ref={incomplete} kind="error">
              <p>The export is not complete, and no file is made of it. Export again.</p>
              <ul>
                {state.differences.map((difference) => (
                  <li key={difference}>{difference}</li>
                ))}
              </ul>
            </Alert>
            <button type="button" onClick={go}>
              Export again
            </button>
          </>
        )}
      </div>
      {state.step === "done" && <Result file={state.file} onAgain={go} />}
    </Section>
  );
}

const SENTENCES = {
  UNREACHABLE: "The service cannot be reached. What has arrived is kept here: try again, and the export goes on.",
  RATE_LIMITED: "There were too many exports or changes. What has arrived is kept here.",
};

function Result({ file: { file, rows, unreadable }, onAgain }: { file: ExportFile; onAgain: () => void }) {
  return (
    <>
      <Done>
        <p>
          The export is complete: {totalOf(rows)} rows, as many as the services counted, {sizeOf(file.size)}.
          {unreadable > 0 && ` ${unreadable} of them cannot be decrypted by the service, and are named in the file.`}
        </p>
        <p>
          <FileLink file={file} name={`haven-export-${dayOf(new Date())}.json`}>
            Save the export
          </FileLink>
        </p>
      </Done>
      <button type="button" className="secondary" onClick={onAgain}>
        Export again
      </button>
    </>
  );
}

/** What is said when it changes: the service, and whether its stream is continued. The counts change too often for that. */
function stepOf(progress: ExportProgress | undefined): string {
  const name = progress?.source === "data" ? "data" : "account";
  return progress?.isBroken
    ? `The connection broke. The export of the ${name} is continued…`
    : `Exporting the ${name}…`;
}

/** The day where the person is, as ISO 8601 has it. */
function dayOf(date: Date): string {
  const parts = [date.getFullYear(), date.getMonth() + 1, date.getDate()];
  return parts.map((part) => String(part).padStart(2, "0")).join("-");
}

function countOf(progress: ExportProgress | undefined): string {
  return `${progress?.rows ?? 0} rows, ${sizeOf(progress?.bytes ?? 0)}`;
}

function sizeOf(bytes: number): string {
  return bytes < 1_000_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
