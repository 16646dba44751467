import { toJsonString } from "@bufbuild/protobuf";
import { useEffect, useMemo } from "react";
import { Link } from "wouter";
import { useSession } from "../app/session-context";
import { type Deletion, DeletionSchema, DeletionState } from "../gen/haven/identity/v1/account_pb";
import { Done } from "./done";
import { FileLink } from "./file-link";
import { Page } from "./page";
import { Time } from "./time";

/** The receipt of a deletion. The session ends with the account. */
export function DeletionReceipt({ deletion }: { deletion: Deletion }) {
  const session = useSession();
  useEffect(() => session.end("DELETED"), [session]);
  const file = useMemo(() => {
    const text = toJsonString(DeletionSchema, deletion, { useProtoFieldName: true, prettySpaces: 2 });
    return new Blob([text], { type: "application/json" });
  }, [deletion]);
  const isDone = deletion.state === DeletionState.DONE;
  return (
    <Page title="The account is deleted">
      <Done>
        <p>There is no such account any more. You cannot sign in to it, and you are signed out here.</p>
        <p>
          {isDone
            ? "Both services have erased everything."
            : "The rest is erased in the next minutes, without anything to do for you. The product can read the complete receipt."}
        </p>
      </Done>
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
      <p>
        <Link href="/">Sign up again</Link>
      </p>
    </Page>
  );
}
