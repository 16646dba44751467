import { afterEach, expect, test, vi } from "vitest";
import { loadConfig } from "./config";

afterEach(() => vi.unstubAllGlobals());

function serve(body: string, status = 200) {
  vi.stubGlobal("fetch", async () => new Response(body, { status }));
}

test("an empty address is the origin of the page", async () => {
  serve('{ "identity": "", "data": "https://data.example.org:8443" }');
  expect(await loadConfig()).toEqual({ identity: location.origin, data: "https://data.example.org:8443" });
});

test.each(["http://localhost:50051", "http://127.0.0.1:50051", "http://[::1]:50051"])(
  "an address of this machine needs no TLS: %s",
  async (identity) => {
    serve(JSON.stringify({ identity, data: "" }));
    expect(await loadConfig()).toEqual({ identity, data: location.origin });
  },
);

test.each([
  '{ "identity": "" }',
  '{ "identity": "identity.example.org", "data": "" }',
  '{ "identity": "https://identity.example.org/", "data": "" }',
  '{ "identity": "", "data": "", "extra": 1 }',
  '{ "identity": "http://identity.example.org", "data": "" }',
  '{ "identity": "", "data": "http://localhost.example.org:50051" }',
  '{ "identity": "", "data": "http://127.0.0.1.example.org" }',
  '{ "identity": "ws://localhost", "data": "" }',
  "",
])("a malformed file is refused: %s", async (body) => {
  serve(body);
  await expect(loadConfig()).rejects.toThrow();
});

test("a missing file is refused", async () => {
  serve("not found", 404);
  await expect(loadConfig()).rejects.toThrow("404");
});
