import { act, screen, waitFor } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { failing } from "../account/test-service";
import { expectFocus } from "../test-focus";
import { fillIn, lost, openPage, PASSWORD, submit, TestService } from "./test-form";

async function signUp(service: TestService, refuse: () => never) {
  service.onSignIn = refuse;
  await openPage();
  const user = await fillIn();
  await user.click(submit());
  await screen.findByText("Your account exists.");
  return user;
}

test("a lost answer of sign-in is no lost account: the same sign-in is sent again", async () => {
  const service = new TestService();
  const user = await signUp(service, lost);
  await expectFocus(await screen.findByRole("group", { name: /You are not signed in yet/ }));
  expect(location.pathname).toBe("/");
  service.onSignIn = () => {};
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(location.pathname).toBe("/account"));
  const [first, second] = service.signIns;
  expect(service.signIns).toHaveLength(2);
  expect(second).toMatchObject({ password: PASSWORD, requestId: first?.requestId });
  expect(service.signUps).toHaveLength(1);
});

test.each([
  ["EMAIL_NOT_VERIFIED", "Open the link in the e-mail"],
  ["CREDENTIALS_INVALID", "another one by now"],
])("%s ends in the page of sign-in", async (reason, text) => {
  const service = new TestService();
  await signUp(service, () => {
    throw failing(reason);
  });
  expect(await screen.findByText(new RegExp(text))).toBeVisible();
  expect(screen.getByRole("link", { name: "Go to sign-in" })).toHaveAttribute("href", "/sign-in");
  expect(screen.queryByRole("button", { name: "Sign in" })).toBeNull();
  expect(service.signIns).toHaveLength(1);
});

test("a limit of sign-in is counted down", async () => {
  const service = new TestService();
  const user = await signUp(service, () => {
    throw failing("RATE_LIMITED", { retryAfter: 2 });
  });
  expect(await screen.findByText("You can sign in in 2 s.")).toBeVisible();
  service.onSignIn = () => {};
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  expect(service.signIns).toHaveLength(1);
  await waitFor(() => expect(screen.queryByRole("timer")).toBeNull(), { timeout: 4_000 });
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(location.pathname).toBe("/account"));
});

test("a person who is signed in goes on to the account", async () => {
  new TestService();
  const { session } = await openPage();
  await act(async () => void (await session.signIn("ada@example.org", PASSWORD, crypto.randomUUID())));
  await vi.waitFor(() => expect(location.pathname).toBe("/account"));
});
