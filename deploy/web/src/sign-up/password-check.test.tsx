import { act, fireEvent, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { failing } from "../account/test-service";
import { emailInput, fillIn, lost, openPage, passwordInput, rules, submit, TestService } from "./test-form";

let service: TestService;

beforeEach(async () => {
  service = new TestService();
  await openPage();
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => void vi.useRealTimers());

const type = (password: string) => fireEvent.change(passwordInput(), { target: { value: password } });

/** Lets virtual time pass, and real tasks of calls end. */
async function pass(milliseconds: number) {
  await act(async () => {
    vi.advanceTimersByTime(milliseconds);
    for (let turn = 0; turn < 20; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
  });
}

function states() {
  return Object.fromEntries(
    rules.map(({ name, description }) => {
      const text = screen.getByText(new RegExp(`${description} \\(`)).textContent ?? "";
      return [name, /\((.*)\)/.exec(text)?.[1]];
    }),
  );
}

test("rules that the page checks are shown at once, and the others when the server has answered", async () => {
  expect(states()).toEqual({
    TOO_SHORT: "not met",
    TOO_LONG: "met",
    NO_DIGIT: "not met",
    GUESSABLE: "not checked yet",
  });
  type("longer than eight");
  expect(states()).toEqual({ TOO_SHORT: "met", TOO_LONG: "met", NO_DIGIT: "not met", GUESSABLE: "not checked yet" });
  type("longer than 8 GUESSABLE");
  await pass(300);
  expect(states()).toEqual({ TOO_SHORT: "met", TOO_LONG: "met", NO_DIGIT: "met", GUESSABLE: "not met" });
  expect(screen.getByText("Rules that are not met: 1.")).toBeVisible();
  type("longer than 8");
  expect(states()).toMatchObject({ GUESSABLE: "not checked yet" });
  await pass(300);
  expect(states()).toMatchObject({ GUESSABLE: "met" });
  expect(screen.getByText("The password meets all rules.")).toBeVisible();
});

test("a password is checked once, 300 ms after the last key, with the address", async () => {
  fireEvent.change(emailInput(), { target: { value: "ada@example.org" } });
  for (const password of ["K", "Ki", "Kit", "Kite"]) {
    type(password);
    await pass(299);
  }
  expect(service.checks).toEqual([]);
  await pass(1);
  expect(service.checks).toMatchObject([{ password: "Kite", email: "ada@example.org" }]);
  await pass(10_000);
  expect(service.checks).toHaveLength(1);
  fireEvent.change(emailInput(), { target: { value: "kite@example.org" } });
  await pass(300);
  expect(service.checks).toMatchObject([{}, { password: "Kite", email: "kite@example.org" }]);
});

test("an empty password and one that is far too long are not sent", async () => {
  type("x".repeat(129));
  await pass(300);
  type("");
  await pass(300);
  expect(service.checks).toEqual([]);
});

test("an answer for an earlier password is dropped", async () => {
  let answer = () => {};
  service.onCheck = () => new Promise((resolve) => (answer = resolve));
  type("first 1 GUESSABLE");
  await pass(300);
  const late = answer;
  type("second password 2");
  await pass(300);
  answer();
  await pass(0);
  expect(states()).toMatchObject({ GUESSABLE: "met" });
  late();
  await pass(0);
  expect(states()).toMatchObject({ GUESSABLE: "met" });
});

test("a limit pauses the checks until its end, and is no error of the form", async () => {
  service.onCheck = () => {
    throw failing("RATE_LIMITED", { retryAfter: 20 });
  };
  type("first password 1");
  await pass(300);
  expect(service.checks).toHaveLength(1);
  service.onCheck = () => {};
  type("second password 2");
  await pass(19_000);
  expect(service.checks).toHaveLength(1);
  expect(screen.queryByRole("alert")).toBeNull();
  expect(states()).toMatchObject({ TOO_SHORT: "met", GUESSABLE: "not checked yet" });
  await pass(1_000);
  expect(service.checks).toMatchObject([{}, { password: "second password 2" }]);
  expect(states()).toMatchObject({ GUESSABLE: "met" });
});

test("a limit without another key is followed by a check of the same password", async () => {
  service.onCheck = () => {
    throw failing("RATE_LIMITED", { retryAfter: 20 });
  };
  type("first password 1");
  await pass(300);
  service.onCheck = () => {};
  await pass(20_000);
  expect(states()).toMatchObject({ GUESSABLE: "met" });
});

test("a service that is away is asked again with the next key, and not before the pause ends", async () => {
  service.onCheck = lost;
  type("first password 1");
  await pass(300);
  await pass(600_000);
  expect(service.checks).toHaveLength(1);
  service.onCheck = () => {};
  type("second password 2");
  await pass(300);
  expect(states()).toMatchObject({ GUESSABLE: "met" });
});

test("a check without an answer does not hold up the form", async () => {
  vi.useRealTimers();
  service.onCheck = () => new Promise(() => {});
  const user = await fillIn();
  await user.click(submit());
  await waitFor(() => expect(service.signUps).toHaveLength(1));
});
