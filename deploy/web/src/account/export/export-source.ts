import { type DescMessage, type MessageShape, toJsonString } from "@bufbuild/protobuf";
import type { CallOptions } from "@connectrpc/connect";
import type { AccountClients } from "../../api/account-clients";
import { ExportDataResponseSchema } from "../../gen/haven/data/v1/person_pb";
import { ExportAccountResponseSchema } from "../../gen/haven/identity/v1/account_pb";
import { accountRows, dataRows, type Rows } from "./exported-rows";

/** A part of an export: one response of its stream. */
export interface ExportPart {
  /** The response as JSON (ProtoJSON, with the names of the contract), without its resume token. */
  json: string;
  rows: Rows;
  /** The rows that the server cannot decrypt. They are among `rows`. */
  unreadable: number;
  resumeToken: string;
  /** What the whole export has, as the server counted it. In the last part only. */
  manifest: { userId: string; rows: Rows } | undefined;
}

/** A service that exports what it stores. */
export interface ExportSource {
  name: "account" | "data";
  /** Opens the stream. A resume token continues an export after the part that had it. */
  open: (resumeToken: string, options: CallOptions) => AsyncIterable<ExportPart>;
}

/** Returns the exports of both services, in the order of the file. */
export function exportSources({ accounts, people }: AccountClients): ExportSource[] {
  return [
    {
      name: "account",
      async *open(resumeToken, options) {
        for await (const response of accounts.exportAccount({ resumeToken }, options)) {
          yield part(ExportAccountResponseSchema, response, accountRows(response), 0);
        }
      },
    },
    {
      name: "data",
      async *open(resumeToken, options) {
        for await (const response of people.exportData({ resumeToken }, options)) {
          yield part(ExportDataResponseSchema, response, dataRows(response), response.unreadable.length);
        }
      },
    },
  ];
}

type Response = {
  resumeToken: string;
  manifest?: { userId: string; exported: { table: string; rows: bigint }[] } | undefined;
};

function part<D extends DescMessage>(
  schema: D,
  response: MessageShape<D> & Response,
  rows: Rows,
  unreadable: number,
): ExportPart {
  const { resumeToken, manifest } = response;
  response.resumeToken = "";
  return {
    json: toJsonString(schema, response, { useProtoFieldName: true }),
    rows,
    unreadable,
    resumeToken,
    manifest: manifest && {
      userId: manifest.userId,
      rows: new Map(manifest.exported.map(({ table, rows }) => [table, Number(rows)])),
    },
  };
}
