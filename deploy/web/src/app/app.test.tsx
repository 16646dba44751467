import { act, screen } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { beforeEach, expect, test, vi } from "vitest";
import { navigate } from "wouter/use-browser-location";
import { newSession, renderWith, serve, signedInSession, tokens } from "../account/test-service";
import { expectFocus } from "../test-focus";
import { App } from "./app";

beforeEach(() => {
  serve({ accounts: { getPasswordPolicy: () => ({}), getConsentRequirements: () => ({}) } });
  return () => vi.unstubAllGlobals();
});

function open(path: string, session = newSession()) {
  history.replaceState(null, "", path);
  document.title = "";
  renderWith(session, <App />);
  return userEvent.setup();
}

const heading = (name: string) => screen.findByRole("heading", { level: 1, name });

test("an unknown path has a title", async () => {
  open("/no-such-page");
  await heading("Page not found");
  expect(document.title).toBe("Page not found · Haven");
});

test("the title of a page gets the focus when it takes the place of another one", async () => {
  const user = open("/no-such-page");
  expect(await heading("Page not found")).not.toHaveFocus();
  const navigation = screen.getByRole("navigation");
  await user.click(navigation.querySelector("a[href='/sign-in']") ?? navigation);
  await expectFocus(await heading("Sign in"));
  await user.click(navigation.querySelector("a[href='/']") ?? navigation);
  await expectFocus(await heading("Create an account"));
  act(() => navigate("/no-such-page"));
  await expectFocus(await heading("Page not found"));
});

test("the navigation says which page is shown", async () => {
  const user = open("/");
  const link = (name: string) => screen.getByRole("navigation").querySelector(`a[href='${name}']`);
  expect(link("/")).toHaveAttribute("aria-current", "page");
  expect(link("/sign-in")).not.toHaveAttribute("aria-current");
  await user.click(link("/sign-in") ?? document.body);
  expect(link("/sign-in")).toHaveAttribute("aria-current", "page");
  expect(link("/")).not.toHaveAttribute("aria-current");
  await heading("Sign in");
});

test("what a page gives the focus itself keeps it", async () => {
  serve({ sessions: { signIn: () => tokens([{ document: "terms", documentVersion: "2026-02" }]) } });
  open("/no-such-page", await signedInSession());
  await heading("Page not found");
  act(() => navigate("/account"));
  await heading("Account");
  expect(document.activeElement).toHaveTextContent("These documents are required");
});
