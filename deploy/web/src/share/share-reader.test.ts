import { Code, ConnectError } from "@connectrpc/connect";
import { beforeAll, beforeEach, expect, test, vi } from "vitest";
import { DeviceType, type OpenShareResponse } from "../gen/haven/data/v1/share_pb";
import { DecryptionError, type Decryptor } from "./decryption";
import { ShareReader } from "./share-reader";
import { clientOf, failureWith, LocalDecryptor, type SealedShare, sealShare, token } from "./test-share";

let share: SealedShare;
let decryptor: LocalDecryptor;
beforeAll(async () => {
  share = await sealShare("31, 28, 27");
});
beforeEach(() => {
  decryptor = new LocalDecryptor();
});

const startDecryptor = async (_: AbortSignal): Promise<Decryptor> => decryptor;

/** A reader with a link, and a service that answers as `open` says. */
function readerWith(open: () => OpenShareResponse | Promise<OpenShareResponse>, start = startDecryptor) {
  const asked = vi.fn(open);
  const reader = new ShareReader(clientOf(asked), start);
  reader.receive(share.fragment);
  return { reader, asked };
}

test("nothing is asked of the service before the share is opened", async () => {
  const { reader, asked } = readerWith(() => share.answer);
  expect(reader.state).toEqual({ step: "ready" });
  expect(asked).not.toHaveBeenCalled();
  await reader.open("");
  expect(asked).toHaveBeenCalledOnce();
  expect(asked).toHaveBeenCalledWith(
    expect.objectContaining({ token, passcode: "", deviceType: DeviceType.DESKTOP }),
    expect.anything(),
  );
  expect(reader.state).toMatchObject({ step: "opened" });
  const { content } = reader.state as { content: Uint8Array };
  expect(new TextDecoder().decode(content)).toBe("31, 28, 27");
  expect(decryptor.ended).toBe(true);
});

test("two clicks use one opening", async () => {
  const { reader, asked } = readerWith(() => share.answer);
  await Promise.all([reader.open(""), reader.open("")]);
  expect(asked).toHaveBeenCalledOnce();
});

test("without its worker the page asks for nothing", async () => {
  const { reader, asked } = readerWith(
    () => share.answer,
    async () => {
      throw new DecryptionError("WORKER");
    },
  );
  await reader.open("");
  expect(asked).not.toHaveBeenCalled();
  expect(reader.state).toEqual({ step: "ready", attempt: { kind: "unprepared" } });
});

test("the service is asked when the worker has started, and not before", async () => {
  let start: (decryptor: Decryptor) => void = () => {};
  const { reader, asked } = readerWith(
    () => {
      expect(reader.state).toEqual({ step: "opening" });
      return share.answer;
    },
    () => new Promise((resolve) => (start = resolve)),
  );
  const opening = reader.open("");
  expect(reader.state).toEqual({ step: "preparing" });
  expect(asked).not.toHaveBeenCalled();
  start(decryptor);
  await opening;
  expect(reader.state.step).toBe("opened");
});

test("a start of the worker can be cancelled, and the share opened after that", async () => {
  let signal: AbortSignal | undefined;
  const { reader, asked } = readerWith(
    () => share.answer,
    async (given) => {
      signal = given;
      return decryptor;
    },
  );
  const opening = reader.open("");
  reader.cancel();
  expect(reader.state).toEqual({ step: "ready" });
  expect(signal?.aborted).toBe(true);
  await opening;
  expect(asked).not.toHaveBeenCalled();
  expect(decryptor.ended).toBe(true);
  await reader.open("");
  expect(reader.state.step).toBe("opened");
  reader.cancel();
  expect(reader.state.step).toBe("opened");
});

test.each<[string, unknown, string]>([
  ["a refusal", failureWith("SHARE_UNAVAILABLE"), "refused"],
  ["a limit", failureWith("RATE_LIMITED", { retrySeconds: 7 }), "busy"],
  ["a full queue", failureWith("OVERLOADED", { retrySeconds: 1 }), "busy"],
  ["too many calls", failureWith("TOO_MANY_CALLS", { retrySeconds: 1 }), "busy"],
  ["no connection", new ConnectError("failed to fetch", Code.Unknown), "unanswered"],
  ["no answer in time", new ConnectError("timeout", Code.DeadlineExceeded), "unanswered"],
  ["an error of the service", failureWith("INTERNAL"), "unanswered"],
  ["an error of its database", failureWith("DEPENDENCY_UNAVAILABLE", { retrySeconds: 1 }), "unanswered"],
])("%s can be followed by another attempt", async (_, error, kind) => {
  const { reader, asked } = readerWith(() => share.answer);
  asked.mockImplementationOnce(() => {
    throw error;
  });
  await reader.open("");
  expect(reader.state).toMatchObject({ step: "ready", attempt: { kind } });
  await reader.open("");
  expect(reader.state.step).toBe("opened");
});

test("the time of the next attempt is that of the service", async () => {
  vi.useFakeTimers({ now: 1_000_000, toFake: ["Date"] });
  const { reader } = readerWith(() => {
    throw failureWith("RATE_LIMITED", { retrySeconds: 7 });
  });
  await reader.open("");
  expect(reader.state).toMatchObject({ attempt: { retryTime: 1_007_000 } });
  vi.useRealTimers();
});

test("a token that the service does not know as one is a malformed link", async () => {
  const violations = [{ field: "token", reason: "NOT_A_TOKEN", description: "token must be one" }];
  const { reader } = readerWith(() => {
    throw failureWith("INVALID_FIELD", { violations });
  });
  await reader.open("");
  expect(reader.state).toEqual({ step: "no-link", malformed: true });
});

test("changed content is never shown", async () => {
  const { encryptedShareData } = share.answer;
  const changed = new Uint8Array(encryptedShareData);
  changed[3] = (changed[3] ?? 0) ^ 0x20;
  const { reader } = readerWith(() => ({ ...share.answer, encryptedShareData: changed }));
  await reader.open("");
  expect(reader.state).toEqual({ step: "undecryptable", code: "WRONG_KEY_OR_CHANGED" });
  expect(reader.canDecryptAgain).toBe(false);
});

test("an answer without an envelope is refused", async () => {
  const { cryptoEnvelope: _, ...answer } = share.answer;
  const { reader } = readerWith(() => answer as OpenShareResponse);
  await reader.open("");
  expect(reader.state).toEqual({ step: "undecryptable", code: "UNKNOWN_VERSION" });
});

test("what the browser had no memory for is decrypted again without another opening", async () => {
  vi.spyOn(decryptor, "decrypt").mockRejectedValueOnce(new DecryptionError("OUT_OF_MEMORY"));
  const { reader, asked } = readerWith(() => share.answer);
  await reader.open("");
  expect(reader.state).toEqual({ step: "undecryptable", code: "OUT_OF_MEMORY" });
  expect(reader.canDecryptAgain).toBe(true);
  await reader.decryptAgain();
  expect(reader.state.step).toBe("opened");
  expect(asked).toHaveBeenCalledOnce();
});

test("a closed share leaves no content, and cannot be opened again", async () => {
  const { reader, asked } = readerWith(() => share.answer);
  await reader.open("");
  const { content } = reader.state as { content: Uint8Array };
  reader.close();
  expect(reader.state).toEqual({ step: "closed" });
  expect(content.every((byte) => byte === 0)).toBe(true);
  await reader.open("");
  expect(asked).toHaveBeenCalledOnce();
  reader.receive(undefined);
  expect(reader.state.step).toBe("closed");
});

test.each<[string, (reader: ShareReader) => void, string]>([
  ["a close", (reader) => reader.close(), "closed"],
  ["another link", (reader) => reader.receive(share.fragment), "ready"],
])("%s ends the attempt that runs, and what it brings is dropped", async (_, end, step) => {
  const { reader } = readerWith(() => share.answer);
  const decrypt = decryptor.decrypt.bind(decryptor);
  let content: Uint8Array | undefined;
  vi.spyOn(decryptor, "decrypt").mockImplementation(async (encrypted) => {
    content = await decrypt(encrypted);
    end(reader);
    return content;
  });
  await reader.open("");
  expect(reader.state.step).toBe(step);
  expect(content?.every((byte) => byte === 0)).toBe(true);
  expect(decryptor.ended).toBe(true);
});

test("a link that is opened later closes the content of the first", async () => {
  const { reader } = readerWith(() => share.answer);
  await reader.open("");
  reader.receive("#x");
  expect(reader.state).toEqual({ step: "no-link", malformed: true });
  reader.receive(share.fragment);
  expect(reader.state).toEqual({ step: "ready" });
});

test("a page without a link says so", () => {
  const reader = new ShareReader(
    clientOf(() => share.answer),
    startDecryptor,
  );
  reader.receive(undefined);
  expect(reader.state).toEqual({ step: "no-link", malformed: false });
});
