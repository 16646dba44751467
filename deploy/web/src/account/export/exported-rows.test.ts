import { create, type DescField } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { ExportDataResponseSchema } from "../../gen/haven/data/v1/person_pb";
import { ExportAccountResponseSchema } from "../../gen/haven/identity/v1/account_pb";
import { accountRows, dataRows, differencesOf, totalOf } from "./exported-rows";

/** The fields of a response that are no rows. */
const OTHERS = ["manifest", "resumeToken", "unreadable"];

function fieldsOf({ fields }: { fields: DescField[] }): DescField[] {
  return fields.filter(({ localName }) => !OTHERS.includes(localName));
}

/** A response with one row in this field. */
function oneRow({ localName, fieldKind }: DescField) {
  return { [localName]: fieldKind === "list" ? [{}] : {} };
}

test("each field of the contract counts for a table of its own", () => {
  for (const field of fieldsOf(ExportAccountResponseSchema)) {
    const rows = [...accountRows(create(ExportAccountResponseSchema, oneRow(field))).values()];
    expect(
      rows.filter((count) => count === 1),
      field.name,
    ).toHaveLength(1);
    expect(rows).toHaveLength(fieldsOf(ExportAccountResponseSchema).length);
  }
  for (const field of fieldsOf(ExportDataResponseSchema)) {
    const rows = [...dataRows(create(ExportDataResponseSchema, oneRow(field))).values()];
    expect(
      rows.filter((count) => count === 1),
      field.name,
    ).toHaveLength(1);
    expect(rows).toHaveLength(fieldsOf(ExportDataResponseSchema).length);
  }
});

test("a row that the server cannot decrypt counts for its table", () => {
  const response = create(ExportDataResponseSchema, {
    messages: [{}, {}],
    unreadable: [{ table: "data.conversations", id: "0190aaaa-0000-7000-8000-000000000003" }],
  });
  expect(dataRows(response).get("data.conversations")).toBe(3);
  expect(totalOf(dataRows(response))).toBe(3);
});

test("tables that this page does not know, and rows that the manifest does not know, are differences", () => {
  expect(differencesOf(new Map([["a", 1]]), new Map([["b", 2]]))).toEqual([
    "a: 1 rows arrived, and the service exported 0.",
    "b: 0 rows arrived, and the service exported 2.",
  ]);
  expect(differencesOf(new Map([["a", 0]]), new Map([["b", 0]]))).toEqual([]);
});
