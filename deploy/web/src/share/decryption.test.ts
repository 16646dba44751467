import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { EncryptedShare, WorkerMessage } from "./decryption";

/** A worker without a thread: tests say what it sends. */
class FakeWorker {
  static last: FakeWorker;
  onmessage: ((event: { data: WorkerMessage }) => void) | undefined;
  onerror: ((event: { preventDefault(): void }) => void) | undefined;
  received: unknown[] = [];
  terminated = false;

  constructor(readonly url: unknown) {
    FakeWorker.last = this;
  }

  postMessage(message: unknown) {
    this.received.push(message);
  }

  terminate() {
    this.terminated = true;
  }

  send(data: WorkerMessage) {
    this.onmessage?.({ data });
  }

  fail() {
    this.onerror?.({ preventDefault: () => {} });
  }
}

beforeEach(() => {
  // The policy is made once for a page, and each test is one.
  vi.resetModules();
  vi.stubGlobal("Worker", FakeWorker);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const share = { shareId: "s" } as EncryptedShare;

async function started() {
  const { startDecryptor } = await import("./decryption");
  const starting = startDecryptor(new AbortController().signal);
  FakeWorker.last.send({ kind: "ready" });
  return { decryptor: await starting, worker: FakeWorker.last };
}

test("a share goes to the worker, and its content comes back", async () => {
  const { decryptor, worker } = await started();
  const decrypting = decryptor.decrypt(share);
  expect(worker.received).toEqual([share]);
  worker.send({ kind: "content", content: new Uint8Array([1]) });
  expect(await decrypting).toEqual(new Uint8Array([1]));
  decryptor.end();
  expect(worker.terminated).toBe(true);
});

test("what the worker refuses is an error with its code", async () => {
  const { decryptor, worker } = await started();
  const decrypting = decryptor.decrypt(share);
  worker.send({ kind: "failed", code: "MEMORY_LIMIT" });
  await expect(decrypting).rejects.toMatchObject({ code: "MEMORY_LIMIT" });
});

test("a worker that the browser ends is an error", async () => {
  const { decryptor, worker } = await started();
  const decrypting = decryptor.decrypt(share);
  worker.fail();
  await expect(decrypting).rejects.toMatchObject({ code: "WORKER" });
});

test.each<[string, (worker: FakeWorker, controller: AbortController, timeout: number) => void]>([
  ["does not load", (worker) => worker.fail()],
  ["may not run WebAssembly", (worker) => worker.send({ kind: "failed", code: "WORKER" })],
  ["does not start in time", (_worker, _controller, timeout) => vi.advanceTimersByTime(timeout)],
  ["is not awaited any more", (_, controller) => controller.abort()],
])("a worker that %s is known before it is needed", async (_, end) => {
  vi.useFakeTimers();
  const { START_TIMEOUT, startDecryptor } = await import("./decryption");
  const controller = new AbortController();
  const starting = startDecryptor(controller.signal);
  end(FakeWorker.last, controller, START_TIMEOUT);
  await expect(starting).rejects.toMatchObject({ code: "WORKER" });
  expect(FakeWorker.last.terminated).toBe(true);
});

test("the policy of trusted types admits the address of the worker alone", async () => {
  let rule: (url: string) => string = () => "";
  const createPolicy = vi.fn((_: string, rules: { createScriptURL(url: string): string }) => {
    rule = rules.createScriptURL;
    return { createScriptURL: (url: string) => `trusted ${rules.createScriptURL(url)}` };
  });
  vi.stubGlobal("trustedTypes", { createPolicy });
  await started();
  const { worker } = await started();
  expect(createPolicy).toHaveBeenCalledOnce();
  expect(createPolicy.mock.calls[0]?.[0]).toBe("haven-worker");
  expect(worker.url).toMatch(/^trusted .*decryption-worker/);
  expect(() => rule("https://example.org/other.js")).toThrow(TypeError);
});
