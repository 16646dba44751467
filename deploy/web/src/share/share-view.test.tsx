import { render, screen, waitFor } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { StrictMode } from "react";
import { afterEach, beforeAll, beforeEach, expect, test, vi } from "vitest";
import type { OpenShareRequest, OpenShareResponse } from "../gen/haven/data/v1/share_pb";
import { expectFocus } from "../test-focus";
import { ShareReader } from "./share-reader";
import { ShareView } from "./share-view";
import { clientOf, failureWith, LocalDecryptor, type SealedShare, sealShare, token } from "./test-share";

let share: SealedShare;
let passcodes: string[];
/** The reader of the page that is shown. */
let shown: ShareReader;
beforeAll(async () => {
  share = await sealShare("Cycles since March: 28, 31, 27.");
});
beforeEach(() => {
  passcodes = [];
});
afterEach(() => window.history.replaceState(null, "", "/"));

/** Shows the page with a link, and a service that answers as `open` says. */
function show(
  open: (request: OpenShareRequest) => OpenShareResponse,
  fragment = share.fragment,
  startDecryptor: ShareReader["startDecryptor"] = async () => new LocalDecryptor(),
) {
  window.history.replaceState(null, "", `/share${fragment}`);
  const client = clientOf((request) => {
    passcodes.push(request.passcode);
    return open(request);
  });
  shown = new ShareReader(client, startDecryptor);
  return render(<ShareView reader={shown} />, { wrapper: StrictMode });
}

const user = userEvent.setup();
const openButton = () => screen.getByRole("button", { name: "Open the share" });

function refuse(reason: string, more?: Parameters<typeof failureWith>[1]): () => never {
  return () => {
    throw failureWith(reason, more);
  };
}

test("a share is opened by a click, and closed by another", async () => {
  show(() => share.answer);
  expect(document.title).toBe("Open a share – Haven");
  expect(passcodes).toEqual([]);
  await user.click(openButton());
  expect(await screen.findByText("Cycles since March: 28, 31, 27.")).toBeVisible();
  await expectFocus(screen.getByRole("heading", { name: "Shared content" }));
  await user.click(screen.getByRole("button", { name: "Close" }));
  expect(screen.queryByText(/28, 31/)).not.toBeInTheDocument();
  expect(screen.getByText(/The share is closed/)).toBeVisible();
  expect(passcodes).toEqual([""]);
});

test("the link leaves the address bar, and is nowhere on the page", async () => {
  show(() => share.answer);
  expect(window.location.href).toBe("http://localhost:3000/share");
  expect(document.documentElement.outerHTML).not.toContain(token);
});

test("a page that was loaded again asks for the link", () => {
  show(() => share.answer, "");
  expect(screen.getByText(/needs the link that you were sent/)).toBeVisible();
  expect(screen.queryByRole("button")).not.toBeInTheDocument();
});

test("a malformed link is named, and a whole one in the same tab is taken", async () => {
  show(() => share.answer, share.fragment.slice(0, -4));
  expect(screen.getByRole("alert")).toHaveTextContent("The link is not complete");
  window.location.hash = share.fragment;
  expect(await screen.findByRole("button", { name: "Open the share" })).toBeVisible();
  expect(window.location.hash).toBe("");
});

test("a refusal is one sentence, and the passcode can be entered in its normal form", async () => {
  show(({ passcode }) => (passcode === "Grüße 7" ? share.answer : refuse("SHARE_UNAVAILABLE")()));
  await user.click(openButton());
  const message = await screen.findByText(/cannot be opened/);
  expect(message.textContent?.match(/\./g)).toHaveLength(1);
  // It gets the focus, and is said by that alone.
  await expectFocus(message);
  expect(screen.getByRole("group", { name: message.textContent ?? "" })).toBe(message);
  expect(screen.queryByRole("alert")).not.toBeInTheDocument();
  await user.type(screen.getByLabelText("Passcode"), "Gru\u{308}ße\u{a0}7");
  await user.click(screen.getByRole("button", { name: "Try again" }));
  expect(await screen.findByText(/28, 31/)).toBeVisible();
  expect(passcodes).toEqual(["", "Grüße 7"]);
});

test("no password manager takes the passcode for the password of an account", () => {
  show(() => share.answer);
  const field = screen.getByLabelText("Passcode");
  expect(field).toHaveAttribute("autocomplete", "one-time-code");
  expect(field).toHaveAttribute("name", "share-passcode");
});

test("an attempt can be cancelled while the worker starts, and the page says what it waits for", async () => {
  let decryptor: (decryptor: LocalDecryptor) => void = () => {};
  show(
    () => share.answer,
    share.fragment,
    () => new Promise((resolve) => (decryptor = resolve)),
  );
  await user.click(openButton());
  expect(screen.getByText("Loading what decrypts the content…")).toBeVisible();
  expect(openButton()).toBeDisabled();
  await user.click(screen.getByRole("button", { name: "Cancel" }));
  expect(screen.queryByText(/Loading/)).not.toBeInTheDocument();
  await expectFocus(openButton());
  await user.click(openButton());
  decryptor(new LocalDecryptor());
  expect(await screen.findByText(/28, 31/)).toBeVisible();
  expect(passcodes).toEqual([""]);
});

test("a passcode that cannot be one is not sent", async () => {
  show(() => share.answer);
  const field = screen.getByLabelText("Passcode");
  await user.type(field, "abc");
  await user.click(openButton());
  expect(field).toHaveAccessibleDescription(expect.stringContaining("at least 4 characters"));
  await expectFocus(field);
  expect(field).toBeInvalid();
  expect(passcodes).toEqual([]);
  await user.type(field, "d");
  expect(field).toBeValid();
  await user.click(openButton());
  expect(await screen.findByText(/28, 31/)).toBeVisible();
});

test("a passcode that the service refuses is an error of its field", async () => {
  const violations = [{ field: "passcode", reason: "PASSCODE_TOO_LONG", description: "too long" }];
  show(refuse("INVALID_FIELD", { violations }));
  await user.type(screen.getByLabelText("Passcode"), "abcd{Enter}");
  await waitFor(() => expect(screen.getByLabelText("Passcode")).toBeInvalid());
  expect(screen.getByText("A passcode has at most 128 characters.")).toBeVisible();
  await expectFocus(screen.getByLabelText("Passcode"));
});

test("a limit is counted down, and the button waits for it", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true });
  show(refuse("RATE_LIMITED", { retrySeconds: 3 }));
  await user.click(openButton());
  expect(await screen.findByText(/did not count/)).toBeVisible();
  expect(screen.getByRole("button", { name: "Try again" })).toBeDisabled();
  expect(screen.getByText("Possible in 3 seconds.")).toBeVisible();
  await vi.advanceTimersByTimeAsync(2000);
  expect(await screen.findByText("Possible in 1 second.")).toBeVisible();
  await vi.advanceTimersByTimeAsync(2000);
  await waitFor(() => expect(screen.getByRole("button", { name: "Try again" })).toBeEnabled());
  vi.useRealTimers();
});

test("a lost answer is said to count", async () => {
  show(() => {
    throw new TypeError("Failed to fetch");
  });
  await user.click(openButton());
  await expectFocus(await screen.findByText(/may have been counted/));
  expect(screen.getByRole("button", { name: "Try again" })).toBeEnabled();
});

test("changed content shows an error, and nothing else", async () => {
  const encryptedShareData = share.answer.encryptedShareData.slice(0, -1);
  show(() => ({ ...share.answer, encryptedShareData }));
  await user.click(openButton());
  expect(await screen.findByRole("alert")).toHaveTextContent("nothing of it is shown");
  expect(screen.queryByRole("button", { name: /Save/ })).not.toBeInTheDocument();
});

test("a page that is left has no content when the browser shows it again", async () => {
  show(() => share.answer);
  await user.click(openButton());
  await screen.findByText(/28, 31/);
  window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
  expect(document.body).not.toHaveTextContent("28, 31");
  expect(screen.getByText(/The share is closed/)).toBeVisible();
});

test("a page that the app takes out of the document when it is left is wiped before that", async () => {
  let unmount = () => {};
  window.addEventListener("pagehide", () => unmount(), { once: true });
  ({ unmount } = show(() => share.answer));
  await user.click(openButton());
  await screen.findByText(/28, 31/);
  const { content } = shown.state as { content: Uint8Array };
  window.dispatchEvent(new PageTransitionEvent("pagehide", { persisted: true }));
  expect(shown.state).toEqual({ step: "closed" });
  expect(content.every((byte) => byte === 0)).toBe(true);
});

test("another page of this site leaves no content behind", async () => {
  const { unmount } = show(() => share.answer);
  await user.click(openButton());
  await screen.findByText(/28, 31/);
  window.history.pushState(null, "", "/sign-in");
  unmount();
  expect(shown.state).toEqual({ step: "closed" });
});
