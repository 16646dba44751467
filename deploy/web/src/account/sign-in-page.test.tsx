import { screen, waitFor } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { beforeEach, expect, test } from "vitest";
import { expectFocus } from "../test-focus";
import SignInPage from "./sign-in-page";
import { failing, findFailure, newSession, renderWith, serve, signedInSession, tokens } from "./test-service";

beforeEach(() => history.replaceState(null, "", "/sign-in"));

async function signIn(email = "ada@example.org", password = "kX9vQ2wZ-ada") {
  const user = userEvent.setup();
  await user.type(screen.getByLabelText("E-mail address"), email);
  await user.type(screen.getByLabelText("Password"), password);
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  return user;
}

test("sign-in leads to the account", async () => {
  serve({});
  const session = newSession();
  renderWith(session, <SignInPage />);
  await signIn();
  await waitFor(() => expect(location.pathname).toBe("/account"));
  expect(session.signedIn?.missingConsents).toEqual([]);
});

test("empty fields are refused without a call, and the first one gets the focus", async () => {
  const calls = serve({});
  renderWith(newSession(), <SignInPage />);
  await userEvent.click(screen.getByRole("button", { name: "Sign in" }));
  const email = screen.getByLabelText("E-mail address");
  await waitFor(() => expect(email).toHaveFocus());
  expect(email).toHaveAccessibleDescription("The e-mail address is required.");
  expect(screen.getByLabelText("Password")).toHaveAccessibleDescription("The password is required.");
  expect(calls).toEqual([]);
});

test.each([
  ["CREDENTIALS_INVALID", "The e-mail address or the password is wrong."],
  ["EMAIL_NOT_VERIFIED", "The e-mail address is not verified yet."],
  ["AUTH_PROVIDER_EXTERNAL", "Another provider manages the password"],
  ["OVERLOADED", "The service is busy"],
  ["A_REASON_OF_TOMORROW", "The service refuses the request: A_REASON_OF_TOMORROW."],
])("%s is said, and gets the focus", async (reason, sentence) => {
  serve({
    sessions: {
      signIn: () => {
        throw failing(reason);
      },
    },
  });
  const session = newSession();
  renderWith(session, <SignInPage />);
  await signIn();
  const message = await findFailure(sentence);
  await waitFor(() => expect(message).toHaveFocus());
  // A screen reader says what gets the focus, and would say it again as an alert.
  expect(screen.queryByRole("alert")).not.toBeInTheDocument();
  expect(message.closest("[role=alert], [role=status], [aria-live]")).toBeNull();
  expect(session.signedIn).toBeUndefined();
  expect(screen.getByLabelText("E-mail address")).toHaveValue("ada@example.org");
});

test("a violation of the server is shown at its field", async () => {
  const violations = [{ field: "email", reason: "TOO_LONG", description: "email must have at most 254 bytes" }];
  serve({
    sessions: {
      signIn: () => {
        throw failing("INVALID_FIELD", { violations });
      },
    },
  });
  renderWith(newSession(), <SignInPage />);
  await signIn();
  const email = screen.getByLabelText("E-mail address");
  await waitFor(() => expect(email).toHaveAccessibleDescription("email must have at most 254 bytes."));
  await expectFocus(email);
});

test("after too many attempts there is a countdown, and the button waits for its end", async () => {
  serve({
    sessions: {
      signIn: () => {
        throw failing("RATE_LIMITED", { retryAfter: 90 });
      },
    },
  });
  renderWith(newSession(), <SignInPage />);
  await signIn();
  await waitFor(() => expect(screen.getByRole("timer")).toHaveTextContent("Try again in 1:30 minutes."));
  expect(screen.getByRole("button", { name: "Sign in" })).toBeDisabled();
});

test("a retry after a lost answer has the same request ID, and another password a new one", async () => {
  const requestIds: string[] = [];
  let isDown = true;
  serve({
    sessions: {
      signIn: ({ requestId }) => {
        requestIds.push(requestId);
        if (isDown) {
          // The call was applied, and its answer is lost.
          throw new TypeError("connection reset");
        }
        return tokens();
      },
    },
  });
  renderWith(newSession(), <SignInPage />);
  const user = await signIn();
  await findFailure("The service cannot be reached.");
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(requestIds).toHaveLength(2));
  expect(requestIds[1]).toBe(requestIds[0]);
  isDown = false;
  await user.type(screen.getByLabelText("Password"), "2");
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(location.pathname).toBe("/account"));
  expect(requestIds[2]).not.toBe(requestIds[0]);
});

test("after a request ID that was used for other content the next attempt has another one", async () => {
  const requestIds: string[] = [];
  serve({
    sessions: {
      signIn: ({ requestId }) => {
        requestIds.push(requestId);
        if (requestIds.length === 1) {
          throw failing("REQUEST_ID_REUSED");
        }
        return tokens();
      },
    },
  });
  renderWith(newSession(), <SignInPage />);
  const user = await signIn();
  await findFailure("Try again.");
  await user.click(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(location.pathname).toBe("/account"));
  expect(requestIds[1]).not.toBe(requestIds[0]);
});

test("a service that cannot be reached is said", async () => {
  serve({}, () => true);
  renderWith(newSession(), <SignInPage />);
  await signIn();
  await findFailure("The service cannot be reached.");
});

test("a double click makes one call", async () => {
  const calls = serve({});
  renderWith(newSession(), <SignInPage />);
  const user = userEvent.setup();
  await user.type(screen.getByLabelText("E-mail address"), "ada@example.org");
  await user.type(screen.getByLabelText("Password"), "kX9vQ2wZ-ada");
  await user.dblClick(screen.getByRole("button", { name: "Sign in" }));
  await waitFor(() => expect(location.pathname).toBe("/account"));
  expect(calls.map(({ method }) => method)).toEqual(["SignIn"]);
});

test("a session that ended elsewhere, and one that the person ended, are said", async () => {
  serve({ sessions: { signOut: () => ({}) } });
  const session = await signedInSession();
  session.end();
  const { unmount } = renderWith(session, <SignInPage />);
  expect(screen.getByRole("status")).toHaveTextContent("Your session has ended");
  unmount();
  await session.signIn("ada@example.org", "kX9vQ2wZ-ada", crypto.randomUUID());
  await session.signOut();
  renderWith(session, <SignInPage />);
  expect(screen.getByRole("status")).toHaveTextContent("You are signed out.");
});
