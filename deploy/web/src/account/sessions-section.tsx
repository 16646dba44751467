import { timestampDate } from "@bufbuild/protobuf/wkt";
import { useCallback, useState } from "react";
import { accountClients } from "../api/account-clients";
import { failureOf } from "../api/failure";
import { useSession } from "../app/session-context";
import type { Session } from "../gen/haven/identity/v1/session_pb";
import { Time } from "../ui/time";
import { useAction, useFailureFocus } from "./action";
import { Done } from "./done";
import { FailureAlert } from "./failure-alert";
import { usePages } from "./pages";
import { PagesFooter } from "./pages-footer";
import { Section } from "./section";

const PAGE_SIZE = 20;

/** The sessions that have not ended. Each but this one can be ended. */
export function SessionsSection() {
  const { sessions } = accountClients(useSession());
  const pages = usePages(
    useCallback(
      async (pageToken) => {
        const page = await sessions.listSessions({ pageSize: PAGE_SIZE, pageToken });
        return { items: page.sessions, nextPageToken: page.nextPageToken };
      },
      [sessions],
    ),
  );
  const action = useAction();
  const container = useFailureFocus<HTMLDivElement>(action.failure);
  const [ended, setEnded] = useState<string>();

  const revoke = (session: Session) =>
    action.run(async () => {
      setEnded(undefined);
      let sentence = "The session is ended. Its tokens are refused within a minute.";
      try {
        await sessions.revokeSession({ sessionId: session.id });
      } catch (error) {
        if (failureOf(error).reason !== "NOT_FOUND") {
          throw error;
        }
        sentence = "The session had ended before.";
      }
      setEnded(sentence);
      pages.reload();
    });
  return (
    <Section title="Sessions">
      <p className="hint">Each sign-in is a session. End those that you do not know, and change the password then.</p>
      <div ref={container}>
        <FailureAlert {...action} />
        {ended && <Done key={ended}>{ended}</Done>}
      </div>
      <ul className="entries">
        {pages.items.map((session) => (
          <li key={session.id}>
            <p>
              {session.current && <strong>This session. </strong>}
              Started <Time value={session.createTime} />, last used <Time value={session.refreshTime} />, ends{" "}
              <Time value={session.expireTime} /> unless it is used.
            </p>
            {!session.current && (
              <button
                type="button"
                className="danger"
                onClick={() => revoke(session)}
                aria-label={`End this session, which started ${startOf(session)}`}
              >
                End this session
              </button>
            )}
          </li>
        ))}
      </ul>
      <PagesFooter pages={pages} more="More sessions" none="There are no sessions." />
    </Section>
  );
}

function startOf({ createTime }: Session): string {
  return createTime ? timestampDate(createTime).toLocaleString() : "";
}
