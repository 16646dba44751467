import { toJsonString } from "@bufbuild/protobuf";
import { useEffect, useMemo } from "react";
import { Link } from "wouter";
import { useSession } from "../app/session-context";
import { type Deletion, DeletionSchema, DeletionState } from "../gen/haven/identity/v1/account_pb";
import { Time } from "../ui/time";
import { Done } from "./done";
import { FileLink } from "./file-link";
import { Page } from "./page";

/** The end of an account, with the receipt if it arrived. The session ends with the account. */
export function DeletionReceipt({ deletion }: { deletion: Deletion | undefined }) {
  const session = useSession();
  useEffect(() => session.end("DELETED"), [session]);
  return (
    <Page title="The account is deleted">
      <Done>
        <p>There is no such account any more. You cannot sign in to it, and you are signed out here.</p>
        <p>{deletion?.state === DeletionState.DONE ? "Both services have erased everything." : PENDING}</p>
        {!deletion && <p>The answer with the receipt was lost.</p>}
      </Done>
      {deletion && <Receipt deletion={deletion} />}
      <p>
        <Link href="/">Sign up again</Link>
      </p>
    </Page>
  );
}

const PENDING =
  "What is left of it is erased in the next minutes, without anything to do for you. The product can read the complete receipt.";

function Receipt({ deletion }: { deletion: Deletion }) {
  const file = useMemo(() => {
    const text = toJsonString(DeletionSchema, deletion, { useProtoFieldName: true, prettySpaces: 2 });
    return new Blob([text], { type: "application/json" });
  }, [deletion]);
  const isDone = deletion.state === DeletionState.DONE;
  return (
    <>
      <dl>
        <dt>State</dt>
        <dd>{isDone ? "Done" : "Pending: the data service has not confirmed yet"}</dd>
        <dt>Deleted</dt>
        <dd>
          <Time value={deletion.requestTime} />
        </dd>
        <dt>Confirmed by the data service</dt>
        <dd>
          <Time value={deletion.completeTime} />
        </dd>
        <dt>Account ID</dt>
        <dd>
          <code>{deletion.userId}</code>
        </dd>
      </dl>
      <h2>Erased rows</h2>
      {deletion.erased.length === 0 ? (
        <p>No numbers are known yet.</p>
      ) : (
        <table className="receipt">
          <thead>
            <tr>
              <th scope="col">Table</th>
              <th scope="col">Rows</th>
            </tr>
          </thead>
          <tbody>
            {deletion.erased.map(({ table, rows }) => (
              <tr key={table}>
                <th scope="row">{table}</th>
                <td>{rows.toString()}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <p>
        <FileLink file={file} name={`haven-deletion-${deletion.userId}.json`}>
          Save the receipt
        </FileLink>
      </p>
    </>
  );
}
