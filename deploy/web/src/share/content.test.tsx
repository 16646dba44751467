import { render, screen, within } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { fileOf, readContent } from "./content";
import { ContentView } from "./content-view";

const encode = (text: string) => new TextEncoder().encode(text);

const parse = JSON.parse;

/** Gives the reviver what browsers give it; Node.js 20 does not. */
function parseWith(context: (value: unknown) => { source?: string }) {
  vi.spyOn(JSON, "parse").mockImplementation((text, reviver) =>
    parse(text, function (this: unknown, key, value) {
      return (reviver as (key: string, value: unknown, context: object) => unknown).call(
        this,
        key,
        value,
        context(value),
      );
    }),
  );
}

beforeEach(() => parseWith((value) => (typeof value === "number" ? { source: String(value) } : {})));
afterEach(() => vi.unstubAllGlobals());

test.each<[string, Uint8Array, string]>([
  ["nothing", new Uint8Array(), "text"],
  ["text", encode("Müde am 1. Tag."), "text"],
  ["HTML", encode("<b>1</b>"), "text"],
  ["a number", encode("28"), "text"],
  ["half an object", encode('{"a": 1'), "text"],
  ["deep JSON", encode("[".repeat(10) + "]".repeat(10)), "text"],
  ["very deep JSON", encode("[".repeat(100_000) + "]".repeat(100_000)), "text"],
  ["large JSON", encode(JSON.stringify(Array.from({ length: 5001 }, () => 1))), "text"],
  ["an object", encode(' {"a": 1}\n'), "json"],
  ["an array", encode("[1, 2]"), "json"],
  ["Latin-1", new Uint8Array([0x4d, 0xfc, 0x64, 0x65]), "binary"],
  ["a PNG", new Uint8Array([0x89, 0x50, 0x4e, 0x47]), "binary"],
  ["text with a zero byte", encode("a\0b"), "binary"],
])("%s is shown as what it is", (_, bytes, kind) => {
  expect(readContent(bytes).kind).toBe(kind);
});

test("where the browser does not tell how numbers were written, JSON with a number is text", () => {
  parseWith(() => ({}));
  render(<ContentView bytes={encode('{"reference": 12345678901234567890}')} />);
  expect(screen.getByText('{"reference": 12345678901234567890}')).toBeVisible();
  expect(screen.queryByRole("term")).not.toBeInTheDocument();
  expect(readContent(encode('{"start": "2026-03-01"}')).kind).toBe("json");
});

test("each kind has a file of its own", () => {
  const names = ["a", "[]", "\0"].map((text) => fileOf(readContent(encode(text))).name);
  expect(names).toEqual(["haven-share.txt", "haven-share.json", "haven-share.bin"]);
});

test("text is shown as text, also when it looks like HTML", () => {
  render(<ContentView bytes={encode("<img src=x onerror=alert(1)>\nline two")} />);
  expect(screen.getByText(/<img src=x/)).toBeVisible();
  expect(document.querySelector("img")).toBeNull();
});

test("an array of objects is a table with all their keys", () => {
  render(
    <ContentView
      bytes={encode('{"cycles": [{"start": "2026-03-01", "days": 5}, {"start": "2026-03-29", "pain": true}]}')}
    />,
  );
  const table = screen.getByRole("region", { name: "Table: content, cycles" });
  const cells = (role: string) =>
    within(table)
      .getAllByRole(role)
      .map(({ textContent }) => textContent);
  expect(cells("columnheader")).toEqual(["start", "days", "pain"]);
  expect(cells("cell")).toEqual(["2026-03-01", "5", "", "2026-03-29", "", "yes"]);
});

test("other values are names and values, or lists, each within the other", () => {
  render(
    <ContentView bytes={encode('{"a": {"b": [1, null, "<i>x</i>"], "__proto__": false}, "empty": [], "none": {}}')} />,
  );
  expect(screen.getAllByRole("term").map(({ textContent }) => textContent)).toEqual([
    "a",
    "b",
    "__proto__",
    "empty",
    "none",
  ]);
  expect(screen.getAllByRole("listitem").map(({ textContent }) => textContent)).toEqual(["1", "—", "<i>x</i>"]);
});

test("objects with many keys are not a table", () => {
  const object = Object.fromEntries(Array.from({ length: 21 }, (_, key) => [`k${key}`, key]));
  render(<ContentView bytes={encode(JSON.stringify([object]))} />);
  expect(screen.queryByRole("table")).not.toBeInTheDocument();
  expect(screen.getAllByRole("term")).toHaveLength(21);
});

test("a binary content is only saved, byte by byte", async () => {
  const blobs: Blob[] = [];
  const revoke = vi.fn();
  vi.stubGlobal(
    "URL",
    Object.assign(URL, {
      createObjectURL: (blob: Blob) => {
        blobs.push(blob);
        return "blob:x";
      },
      revokeObjectURL: revoke,
    }),
  );
  const saved: string[] = [];
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (this: HTMLAnchorElement) {
    saved.push(`${this.href} ${this.download}`);
  });
  render(<ContentView bytes={new Uint8Array([0xff, 0, 1])} />);
  expect(screen.getByText(/not text/)).toBeVisible();
  vi.useFakeTimers();
  screen.getByRole("button", { name: "Save as haven-share.bin" }).click();
  expect(saved).toEqual(["blob:x haven-share.bin"]);
  vi.advanceTimersByTime(10_000);
  vi.useRealTimers();
  expect(revoke).toHaveBeenCalledWith("blob:x");
  expect(blobs[0]?.size).toBe(3);
  expect(blobs[0]?.type).toBe("application/octet-stream");
});

test("the text of a table can be read as it was sent", async () => {
  render(<ContentView bytes={encode('{"a":  1}')} />);
  await userEvent.click(screen.getByText("As it was sent"));
  expect(screen.getByText(/"a":/)).toBeVisible();
});
