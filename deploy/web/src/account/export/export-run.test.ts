import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test, vi } from "vitest";
import { failing } from "../test-service";
import { ExportRun, IncompleteExport } from "./export-run";
import type { ExportPart, ExportSource } from "./export-source";

const USER = "0190aaaa-0000-7000-8000-000000000001";

/** A service with three rows, one a part. `breaks` is called before each part, and can throw. */
function source(name: ExportSource["name"], breaks: (next: number) => void = () => undefined, counted = 3) {
  const opened: string[] = [];
  const table = `${name}.rows`;
  const open: ExportSource["open"] = async function* (resumeToken, { signal } = {}) {
    opened.push(resumeToken);
    for (let row = Number(resumeToken || 0); row < 3; row += 1) {
      breaks(row);
      signal?.throwIfAborted();
      yield part({ json: `{"row":${row}}`, rows: new Map([[table, 1]]), resumeToken: String(row + 1) });
    }
    breaks(3);
    yield part({ json: '{"manifest":{}}', manifest: { userId: USER, rows: new Map([[table, counted]]) } });
  };
  return { source: { name, open }, opened };
}

function part(fields: Partial<ExportPart>): ExportPart {
  return { json: "{}", rows: new Map(), unreadable: 0, resumeToken: "", manifest: undefined, ...fields };
}

function runOf(...sources: ExportSource[]) {
  const pause = vi.fn(async (_: number) => undefined);
  const renew = vi.fn(async () => undefined);
  const onProgress = vi.fn();
  return { run: new ExportRun({ sources, userId: USER, renew, onProgress, pause }), pause, renew, onProgress };
}

const never = new AbortController().signal;

/** jsdom's blobs have no `text`. */
function textOf(file: Blob): Promise<string> {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result));
    reader.readAsText(file);
  });
}

test("the file is one JSON document with the parts of both services", async () => {
  const { run, onProgress } = runOf(source("account").source, source("data").source);
  const { file, rows } = await run.run(never);
  const parts = [{ row: 0 }, { row: 1 }, { row: 2 }, { manifest: {} }];
  expect(JSON.parse(await textOf(file))).toEqual({
    format: "haven.export",
    format_version: 1,
    account: parts,
    data: parts,
  });
  expect([...rows]).toEqual([
    ["account.rows", 3],
    ["data.rows", 3],
  ]);
  expect(onProgress).toHaveBeenLastCalledWith(expect.objectContaining({ source: "data", rows: 6, isBroken: false }));
});

test.each([
  ["UNREACHABLE", ConnectError.from(new TypeError("connection reset"))],
  ["DEADLINE", failing("DEADLINE")],
  ["DRAINING", failing("DRAINING")],
  ["a limit of our own", new ConnectError("aborted", Code.Canceled)],
])("a stream that breaks by %s is continued after the last part, and no row is there twice", async (_, error) => {
  const broken = new Set([1, 2, 3]);
  const { source: one, opened } = source("account", (next) => {
    if (broken.delete(next)) {
      throw error;
    }
  });
  const { run, onProgress } = runOf(one);
  const { file } = await run.run(never);
  expect(opened).toEqual(["", "1", "2", "3"]);
  expect(JSON.parse(await textOf(file)).account).toEqual([{ row: 0 }, { row: 1 }, { row: 2 }, { manifest: {} }]);
  expect(onProgress).toHaveBeenCalledWith(expect.objectContaining({ isBroken: true }));
});

test("a token that expires during the export is exchanged", async () => {
  let isExpired = true;
  const { source: one } = source("account", (next) => {
    if (next === 2 && isExpired) {
      isExpired = false;
      throw failing("TOKEN_EXPIRED");
    }
  });
  const { run, renew } = runOf(one);
  await run.run(never);
  expect(renew).toHaveBeenCalledOnce();
});

test("a service that stays away ends the attempts, and the person continues after the last part", async () => {
  let isDown = true;
  const { source: one, opened } = source("account", (next) => {
    if (next === 2 && isDown) {
      throw ConnectError.from(new TypeError("Failed to fetch"));
    }
  });
  const { run, pause } = runOf(one);
  await expect(run.run(never)).rejects.toThrow("Failed to fetch");
  expect(pause.mock.calls.map(([milliseconds]) => milliseconds)).toEqual([500, 1000, 2000, 4000, 8000]);
  isDown = false;
  opened.length = 0;
  await run.run(never);
  expect(opened).toEqual(["2"]);
});

test("a refusal for a longer time is not waited for", async () => {
  const { source: one } = source("account", () => {
    throw failing("RATE_LIMITED", { retryAfter: 600 });
  });
  const { run, pause } = runOf(one);
  await expect(run.run(never)).rejects.toThrow();
  expect(pause).not.toHaveBeenCalled();
});

test("a refusal that no retry helps ends the export at once", async () => {
  const { source: one, opened } = source("account", () => {
    throw failing("ACCOUNT_ERASED");
  });
  await expect(runOf(one).run.run(never)).rejects.toThrow();
  expect(opened).toHaveLength(1);
});

test("a number of rows that differs from the manifest is an error with the table, and no file", async () => {
  const { run } = runOf(source("account", undefined, 4).source);
  const error = await run.run(never).catch((error) => error);
  expect(error).toBeInstanceOf(IncompleteExport);
  expect(error.differences).toEqual(["account.rows: 3 rows arrived, and the service exported 4."]);
});

test("an export of another account is refused", async () => {
  const open: ExportSource["open"] = async function* () {
    yield part({ manifest: { userId: "another", rows: new Map() } });
  };
  const error = await runOf({ name: "account", open })
    .run.run(never)
    .catch((error) => error);
  expect(error.differences).toEqual(["The export is of another account."]);
});

test("a stream that ends without a manifest is continued, and is an error if it stays so", async () => {
  const open: ExportSource["open"] = async function* () {
    // It has nothing, not even a manifest.
  };
  const { run, pause } = runOf({ name: "account", open });
  await expect(run.run(never)).rejects.toBeInstanceOf(IncompleteExport);
  expect(pause).toHaveBeenCalledTimes(5);
});

test("a part without a resume token is not followed by an export from the beginning", async () => {
  const opened: string[] = [];
  const open: ExportSource["open"] = async function* (resumeToken) {
    opened.push(resumeToken);
    yield part({ rows: new Map([["account.rows", 1]]) });
    throw ConnectError.from(new TypeError("connection reset"));
  };
  await expect(runOf({ name: "account", open }).run.run(never)).rejects.toBeInstanceOf(IncompleteExport);
  expect(opened).toEqual([""]);
});

test("cancelling ends the stream", async () => {
  const abort = new AbortController();
  const { source: one, opened } = source("account", (next) => {
    if (next === 1) {
      abort.abort();
    }
  });
  await expect(runOf(one).run.run(abort.signal)).rejects.toThrow();
  expect(opened).toEqual([""]);
});
