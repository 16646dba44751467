import { Code, ConnectError } from "@connectrpc/connect";
import { act, fireEvent, screen, waitFor, within } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { expect, test, vi } from "vitest";
import { failing } from "../account/test-service";
import { BadRequestSchema, ErrorInfoSchema } from "../gen/google/rpc/error_details_pb";
import { Goal } from "../gen/haven/identity/v1/account_pb";
import { expectFocus } from "../test-focus";
import { emailInput, fillIn, lost, openPage, PASSWORD, passwordInput, rules, submit, TestService } from "./test-form";

test("a right form makes an account, signs in with the same password, and leads to the account", async () => {
  const service = new TestService();
  const { session } = await openPage();
  const user = await fillIn();
  await user.click(submit());
  await waitFor(() => expect(location.pathname).toBe("/account"));
  expect(service.signUps).toMatchObject([
    {
      email: "ada@example.org",
      password: PASSWORD,
      goals: [Goal.MAKE_FRIENDS],
      consents: [{ document: "terms", documentVersion: "2026-01" }],
    },
  ]);
  expect(service.signIns).toMatchObject([{ email: "ada@example.org", password: PASSWORD }]);
  expect(session.signedIn?.userId).toBe("1");
  expect(document.documentElement.innerHTML).not.toContain(PASSWORD);
});

test("what is wrong is found before a call, several for one field, and the first field gets the focus", async () => {
  const service = new TestService();
  await openPage();
  const user = userEvent.setup();
  await user.type(emailInput(), "a..b@localhost");
  await user.type(passwordInput(), "short");
  await user.click(submit());
  await waitFor(() => expect(emailInput()).toHaveFocus());
  expect(emailInput()).toHaveAccessibleDescription(
    "Before the @, each dot must be between other characters. The part after the @ must have a dot.",
  );
  expect(passwordInput()).toHaveAccessibleDescription(
    expect.stringContaining("The password must have at least 8 characters The password must have a digit"),
  );
  expect(screen.getByRole("group", { name: "Your goals" })).toHaveAccessibleDescription(/Choose at least one goal/);
  expect(screen.getByRole("group", { name: "Documents" })).toHaveAccessibleDescription(
    "Accept “terms”, version 2026-01.",
  );
  expect(service.signUps).toEqual([]);
});

test("of the documents only the required ones that are missing are marked, and the first of them gets the focus", async () => {
  const service = new TestService();
  service.required = [...service.required, { document: "privacy", documentVersion: "3" }];
  await openPage();
  const user = await fillIn();
  await user.click(submit());
  await waitFor(() => expect(screen.getByLabelText(/“privacy”/)).toHaveFocus());
  const marked = (name: RegExp) => screen.getByLabelText(name).getAttribute("aria-invalid");
  await waitFor(() => expect(marked(/“privacy”/)).toBe("true"));
  expect([marked(/“terms”/), marked(/“news”/)]).toEqual(["false", "false"]);
  expect(screen.getByLabelText(/“privacy”/)).toBeRequired();
  expect(screen.getByLabelText(/“news”/)).not.toBeRequired();
  expect(service.signUps).toEqual([]);
});

test("a defect of the page is not said to be one of the service", async () => {
  const service = new TestService();
  await openPage();
  const user = await fillIn();
  vi.spyOn(crypto, "randomUUID").mockImplementation(() => {
    throw new TypeError("not a function");
  });
  await user.click(submit());
  expect(await screen.findByText(/This page has a defect/)).toBeVisible();
  expect(service.signUps).toEqual([]);
});

test("nothing is marked before the form is sent, so that nothing moves under the pointer", async () => {
  new TestService();
  await openPage();
  const user = userEvent.setup();
  await user.type(emailInput(), "a");
  await user.type(passwordInput(), "b");
  await user.click(screen.getByLabelText(/“news”/));
  expect(document.querySelectorAll(".errors")).toHaveLength(0);
  await user.click(submit());
  await waitFor(() => expect(document.querySelectorAll(".errors")).toHaveLength(4));
  await user.clear(emailInput());
  await user.type(emailInput(), "ada@example.org");
  await user.click(screen.getByLabelText("Make friends"));
  await user.click(screen.getByLabelText(/“terms”/));
  await waitFor(() => expect(document.querySelectorAll(".errors")).toHaveLength(1));
});

test("all violations of the server are shown: on their fields by path and rule, and the others above the button", async () => {
  const service = new TestService();
  const violation = (field: string, reason: string) => ({ field, reason, description: `${field} breaks ${reason}` });
  service.onSignUp = () => {
    const failure = new ConnectError("", Code.InvalidArgument);
    failure.details.push(
      {
        desc: ErrorInfoSchema,
        value: { domain: "haven", reason: "INVALID_FIELD", metadata: { violations_omitted: "3" } },
      },
      {
        desc: BadRequestSchema,
        value: {
          fieldViolations: [
            violation("request_id", "NOT_A_UUID"),
            violation("goals[0]", "UNKNOWN_VALUE"),
            violation("goals", "TOO_MANY"),
            violation("consents[1].document_version", "VERSION_UNKNOWN"),
            violation("consents", "ONE"),
            { field: "consents", reason: "CONSENT_REQUIRED", description: "Consent to `a` is required" },
            { field: "consents", reason: "CONSENT_REQUIRED", description: "Consent to `b` is required" },
            violation("password", "GUESSABLE"),
            violation("password", "NEW_RULE"),
            violation("", "WHOLE"),
            violation("later_field.part", "OTHER"),
          ],
        },
      },
    );
    throw failure;
  };
  await openPage();
  const user = await fillIn();
  await user.click(screen.getByLabelText(/“news”/));
  await user.click(submit());
  await waitFor(() => expect(passwordInput()).toHaveFocus());
  expect(passwordInput()).toHaveAccessibleDescription(
    expect.stringContaining("The password must not be easy to guess password breaks NEW_RULE"),
  );
  expect(screen.getByRole("group", { name: "Your goals" })).toHaveAccessibleDescription(
    "Choose at least one. goals[0] breaks UNKNOWN_VALUE goals breaks TOO_MANY",
  );
  expect(screen.getByRole("group", { name: "Documents" })).toHaveAccessibleDescription(
    "“news”, version 1: This version is no longer accepted. consents breaks ONE Accept the required documents.",
  );
  const others = within(screen.getByRole("alert")).getAllByRole("listitem");
  expect(others.map(({ textContent }) => textContent)).toEqual([
    "request_id: request_id breaks NOT_A_UUID",
    "request:  breaks WHOLE",
    "later_field.part: later_field.part breaks OTHER",
    "There are 3 more errors, which are shown when these are corrected.",
  ]);
});

test("an error of no field gets the focus itself", async () => {
  const service = new TestService();
  service.onSignUp = () => {
    throw failing("AUTH_PROVIDER_EXTERNAL");
  };
  await openPage();
  const user = await fillIn();
  await user.click(submit());
  // It is no live region besides: it would be said twice.
  const message = await screen.findByRole("group", { name: /another provider/ });
  await waitFor(() => expect(message).toHaveFocus());
  expect(screen.queryByRole("alert")).toBeNull();
});

test("documents that change in between are asked for, what was typed stays, and the change is said", async () => {
  const service = new TestService();
  service.onSignUp = ({ consents }) => {
    if (consents[0]?.documentVersion !== "2026-02") {
      throw failing("CONSENT_REQUIRED", {
        violations: [{ field: "consents", reason: "CONSENT_REQUIRED", description: "Consent to `terms` is required" }],
      });
    }
  };
  await openPage();
  const user = await fillIn();
  await user.click(screen.getByLabelText(/“news”/));
  service.required = [{ document: "terms", documentVersion: "2026-02" }];
  service.accepted = [...service.required, { document: "news", documentVersion: "1" }];
  await user.click(submit());
  const terms = await screen.findByLabelText("I accept “terms”, version 2026-02");
  expect(await screen.findByText("“terms” has a new version: 2026-02 instead of 2026-01.")).toBeVisible();
  await waitFor(() => expect(terms).toHaveFocus());
  expect(terms).not.toBeChecked();
  expect(screen.getByRole("group", { name: "Documents" })).toHaveAccessibleDescription(
    "Accept “terms”, version 2026-02.",
  );
  expect(screen.getByLabelText(/“news”/)).toBeChecked();
  expect([emailInput().value, passwordInput().value]).toEqual(["ada@example.org", PASSWORD]);
  expect(screen.getByLabelText("Make friends")).toBeChecked();
  await user.click(terms);
  await user.click(submit());
  await waitFor(() => expect(location.pathname).toBe("/account"));
  expect(service.signUps.at(-1)?.consents).toMatchObject([
    { document: "terms", documentVersion: "2026-02" },
    { document: "news", documentVersion: "1" },
  ]);
});

test("a double click sends one request", async () => {
  const service = new TestService();
  let answer = () => {};
  service.onSignUp = () => new Promise((resolve) => (answer = resolve));
  await openPage();
  const user = await fillIn();
  await user.dblClick(submit());
  await user.click(submit());
  await waitFor(() => expect(service.signUps).toHaveLength(1));
  expect(submit()).toHaveAttribute("aria-disabled", "true");
  await act(async () => answer());
  await waitFor(() => expect(location.pathname).toBe("/account"));
  expect(service.signUps).toHaveLength(1);
});

test("after a lost answer the same form is sent with the same ID, and what was typed stays", async () => {
  const service = new TestService();
  service.onSignUp = lost;
  await openPage();
  const user = await fillIn();
  await user.click(submit());
  await expectFocus(await screen.findByRole("group", { name: /The service did not answer\./ }));
  expect([emailInput().value, passwordInput().value]).toEqual(["ada@example.org", PASSWORD]);
  expect(screen.queryByText(/online again/)).toBeNull();
  act(() => void window.dispatchEvent(new Event("online")));
  expect(screen.getByText(/online again/)).toBeVisible();
  service.onSignUp = () => {};
  await user.click(screen.getByRole("button", { name: "Try again" }));
  await waitFor(() => expect(location.pathname).toBe("/account"));
  const [first, second] = service.signUps;
  expect(service.signUps).toHaveLength(2);
  expect(second?.requestId).toBe(first?.requestId);
});

test("the order of clicks is no other content", async () => {
  const service = new TestService();
  service.onSignUp = lost;
  await openPage();
  const user = await fillIn();
  await user.click(screen.getByLabelText("Join activities"));
  await user.click(submit());
  await screen.findByText("The service did not answer.");
  await user.click(screen.getByLabelText("Make friends"));
  await user.click(screen.getByLabelText("Make friends"));
  await user.click(submit());
  await waitFor(() => expect(service.signUps).toHaveLength(2));
  expect(service.signUps[1]?.requestId).toBe(service.signUps[0]?.requestId);
});

test("an account that an attempt without an answer made is found, and the person learns that it is that one", async () => {
  const service = new TestService();
  service.onSignUp = lost;
  await openPage();
  const user = await fillIn();
  await user.click(submit());
  await screen.findByText("The service did not answer.");
  const [first] = service.signUps;
  service.onSignUp = ({ requestId }) => {
    if (requestId !== first?.requestId) {
      throw failing("EMAIL_TAKEN");
    }
  };
  await user.type(passwordInput(), "-changed");
  await user.click(submit());
  expect(await screen.findByText(/made by your earlier attempt/)).toBeVisible();
  expect(service.signUps.map(({ requestId }) => requestId === first?.requestId)).toEqual([true, false, true]);
  expect(service.signIns).toEqual([]);
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(location.pathname).toBe("/account"));
  expect(service.signIns).toMatchObject([{ password: PASSWORD }]);
});

test("a taken address is an error of the address, until it is another one", async () => {
  const service = new TestService();
  service.onSignUp = () => {
    throw failing("EMAIL_TAKEN");
  };
  await openPage();
  const user = await fillIn();
  await user.click(submit());
  expect(await screen.findByRole("alert")).toHaveTextContent("An account with this address exists.");
  expect(screen.getByRole("link", { name: "Sign in" })).toHaveAttribute("href", "/sign-in");
  await waitFor(() => expect(emailInput()).toHaveFocus());
  expect(emailInput()).toHaveAccessibleDescription("An account with this address exists.");
  await user.type(emailInput(), ".net");
  expect(screen.queryByRole("alert")).toBeNull();
  expect(emailInput()).toHaveAccessibleDescription("");
  expect(service.signUps).toHaveLength(1);
});

test("a limit is counted down, and then the form can be sent", async () => {
  const service = new TestService();
  service.onSignUp = () => {
    throw failing("RATE_LIMITED", { retryAfter: 65 });
  };
  await openPage();
  const user = await fillIn();
  vi.useFakeTimers({ toFake: ["Date", "setInterval", "clearInterval"] });
  try {
    await user.click(submit());
    expect(await screen.findByText("You can send the form in 1 min 5 s.")).toHaveRole("timer");
    act(() => void vi.advanceTimersByTime(6_000));
    expect(screen.getByRole("timer")).toHaveTextContent("You can send the form in 59 s.");
    await user.click(submit());
    fireEvent.submit(submit());
    act(() => void vi.advanceTimersByTime(59_000));
    expect(screen.queryByRole("timer")).toBeNull();
    expect(screen.getByText("The time is over: you can send the form now.")).toBeVisible();
    expect(service.signUps).toHaveLength(1);
    service.onSignUp = () => {};
    await user.click(submit());
    await waitFor(() => expect(location.pathname).toBe("/account"));
    expect(service.signUps).toHaveLength(2);
  } finally {
    vi.useRealTimers();
  }
});

test("a request that the server knows with other content gets another ID", async () => {
  const service = new TestService();
  service.onSignUp = () => {
    throw failing("REQUEST_ID_REUSED");
  };
  await openPage();
  const user = await fillIn();
  await user.click(submit());
  expect(await screen.findByText(/This form made an account earlier/)).toBeVisible();
  await user.click(submit());
  await waitFor(() => expect(service.signUps).toHaveLength(2));
  expect(service.signUps[1]?.requestId).not.toBe(service.signUps[0]?.requestId);
});

test("a service that is away when the page is opened is asked again, by a click and when the browser is online", async () => {
  const service = new TestService();
  service.isDown = true;
  const page = openPage();
  expect(await screen.findByText(/could not be loaded/)).toBeVisible();
  const user = userEvent.setup();
  await user.type(emailInput(), "ada@example.org");
  await user.click(submit());
  expect(screen.getByRole("group", { name: "Documents" })).toHaveAccessibleDescription(
    "They are not loaded yet. Load the documents, and accept the required ones.",
  );
  await user.click(screen.getByRole("button", { name: "Load again" }));
  service.isDown = false;
  act(() => void window.dispatchEvent(new Event("online")));
  await page;
  await waitFor(() => expect(screen.queryByText(/could not be loaded/)).toBeNull());
  expect(screen.getByText(new RegExp(rules[0]?.description ?? ""))).toBeVisible();
  expect(emailInput()).toHaveValue("ada@example.org");
});

test("the inputs help password managers, and take what is pasted whole", async () => {
  new TestService();
  await openPage();
  expect(emailInput()).toHaveAttribute("autocomplete", "email");
  expect(passwordInput()).toHaveAttribute("autocomplete", "new-password");
  for (const input of [emailInput(), passwordInput()]) {
    expect(input).toHaveAttribute("spellcheck", "false");
    expect(input).not.toHaveAttribute("maxlength");
  }
  const user = userEvent.setup();
  await user.click(passwordInput());
  await user.paste("x".repeat(500));
  expect(passwordInput().value).toHaveLength(500);
  expect(passwordInput()).toHaveAttribute("type", "password");
  const toggle = screen.getByRole("button", { name: "Show password" });
  await user.click(toggle);
  expect(passwordInput()).toHaveAttribute("type", "text");
  expect(toggle).toHaveAttribute("aria-pressed", "true");
});
