import { act, screen, waitFor } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import type { ComponentType } from "react";
import { expect, test } from "vitest";
import ConfirmEmailPage from "./confirm-email-page";
import ResetPasswordPage from "./reset-password-page";
import { type Answers, failing, findFailure, newSession, renderWith, serve } from "./test-service";
import UndoEmailPage from "./undo-email-page";
import VerifyEmailPage from "./verify-email-page";

const TOKEN = "hv1_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const policy = {
  minLength: 8,
  maxLength: 128,
  rules: [{ name: "NO_DIGIT", description: "The password must have a digit" }],
};

function open(Page: ComponentType, path: string) {
  history.replaceState(null, "", path);
  return renderWith(newSession(), <Page />);
}

const pages: [string, ComponentType, string, string, keyof NonNullable<Answers["recovery"]>][] = [
  ["/verify-email", VerifyEmailPage, "Verify the address", "The address is verified", "verifyEmail"],
  ["/confirm-email", ConfirmEmailPage, "Change the address", "The account has the new address", "confirmEmailChange"],
  ["/undo-email", UndoEmailPage, "Take the change back", "The account has its old address again", "undoEmailChange"],
];

test.each(pages)("%s sends its token at the click, and not before", async (path, Page, label, done, method) => {
  const seen: unknown[] = [];
  const answer = (request: { token: string }) => {
    seen.push(request.token);
    return { resetToken: "reset" };
  };
  const calls = serve({ recovery: { [method]: answer }, accounts: { getPasswordPolicy: () => policy } });
  open(Page, `${path}#${TOKEN}`);
  await waitFor(() => expect(location.hash).toBe(""));
  expect(location.pathname).toBe(path);
  expect(calls).toEqual([]);
  await userEvent.click(screen.getByRole("button", { name: label }));
  expect(await screen.findByText(done, { exact: false })).toBeInTheDocument();
  expect(seen).toEqual([TOKEN]);
});

test.each(pages)(
  "%s says in one sentence that a link cannot be used, and asks for no further click",
  async (path, Page, label, _, method) => {
    serve({
      recovery: {
        [method]: () => {
          throw failing("RECOVERY_TOKEN_INVALID");
        },
      },
    });
    open(Page, `${path}#${TOKEN}`);
    await userEvent.click(screen.getByRole("button", { name: label }));
    await findFailure("This link cannot be used: it is wrong, expired, or was used before. Ask for another one.");
    expect(screen.queryByRole("button", { name: label })).not.toBeInTheDocument();
  },
);

test.each(pages)("%s repeats a lost call with the same request ID", async (path, Page, label, done, method) => {
  const requestIds: string[] = [];
  const answer = ({ requestId }: { requestId: string }) => {
    requestIds.push(requestId);
    if (requestIds.length === 1) {
      throw failing("DEADLINE");
    }
    return { resetToken: "reset" };
  };
  serve({ recovery: { [method]: answer }, accounts: { getPasswordPolicy: () => policy } });
  open(Page, `${path}#${TOKEN}`);
  await userEvent.click(screen.getByRole("button", { name: label }));
  await findFailure("The service is busy or did not answer in time.");
  await userEvent.click(screen.getByRole("button", { name: label }));
  expect(await screen.findByText(done, { exact: false })).toBeInTheDocument();
  expect(requestIds[1]).toBe(requestIds[0]);
});

test.each([...pages.map(([path, Page]) => [path, Page] as const), ["/reset-password", ResetPasswordPage] as const])(
  "%s without a token says where the link comes from",
  (path, Page) => {
    const calls = serve({});
    open(Page, path);
    expect(screen.getByRole("status")).toHaveTextContent("Open this page by the link in the e-mail.");
    expect(screen.queryByRole("button")).not.toBeInTheDocument();
    expect(calls).toEqual([]);
  },
);

test("a second link in the same tab replaces the first one", async () => {
  const seen: string[] = [];
  serve({
    recovery: {
      verifyEmail: ({ token }) => {
        seen.push(token);
        return {};
      },
    },
  });
  open(VerifyEmailPage, "/verify-email#first");
  await act(async () => {
    location.hash = "#second";
    await new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
  });
  expect(location.hash).toBe("");
  await userEvent.click(screen.getByRole("button", { name: "Verify the address" }));
  await waitFor(() => expect(seen).toEqual(["second"]));
});

test("a reset shows what the server refuses, keeps the link, and then sets the password", async () => {
  const seen: { token: string; newPassword: string; requestId: string }[] = [];
  serve({
    accounts: { getPasswordPolicy: () => policy, checkPassword: () => ({ results: [] }) },
    recovery: {
      resetPassword: ({ token, newPassword, requestId }) => {
        seen.push({ token, newPassword, requestId });
        if (newPassword === "password") {
          const violations = [
            { field: "new_password", reason: "NO_DIGIT", description: "The password must have a digit" },
            { field: "new_password", reason: "GUESSABLE", description: "The password must not be easy to guess" },
          ];
          throw failing("PASSWORD_POLICY", { violations });
        }
        return { endedSessions: 2, deviceToken: "device" };
      },
    },
  });
  open(ResetPasswordPage, `/reset-password#${TOKEN}`);
  const field = screen.getByLabelText("New password");
  await userEvent.type(field, "password");
  await userEvent.click(screen.getByRole("button", { name: "Set the password" }));
  await waitFor(() => expect(field).toHaveFocus());
  expect(field).toHaveAccessibleDescription(expect.stringContaining("The password must not be easy to guess."));
  await userEvent.clear(field);
  await userEvent.type(field, "kX9vQ2wZ-new");
  await userEvent.click(screen.getByRole("button", { name: "Set the password" }));
  expect(await screen.findByText(/2 sessions were ended/)).toBeInTheDocument();
  expect(seen.map(({ token }) => token)).toEqual([TOKEN, TOKEN]);
  expect(seen[0]?.requestId).not.toBe(seen[1]?.requestId);
});

test("taking a change back leads to a new password with the reset token of the answer", async () => {
  const seen: string[] = [];
  serve({
    accounts: { getPasswordPolicy: () => policy, checkPassword: () => ({ results: [] }) },
    recovery: {
      undoEmailChange: () => ({ resetToken: "token-of-the-answer", endedSessions: 1 }),
      resetPassword: ({ token }) => {
        seen.push(token);
        return {};
      },
    },
  });
  open(UndoEmailPage, `/undo-email#${TOKEN}`);
  await userEvent.click(screen.getByRole("button", { name: "Take the change back" }));
  await userEvent.type(await screen.findByLabelText("New password"), "kX9vQ2wZ-new");
  await userEvent.click(screen.getByRole("button", { name: "Set the password" }));
  expect(await screen.findByText(/The new password is set/)).toBeInTheDocument();
  expect(seen).toEqual(["token-of-the-answer"]);
});

test("an address that is taken does not use up the link", async () => {
  serve({
    recovery: {
      confirmEmailChange: () => {
        throw failing("EMAIL_TAKEN");
      },
    },
  });
  open(ConfirmEmailPage, `/confirm-email#${TOKEN}`);
  await userEvent.click(screen.getByRole("button", { name: "Change the address" }));
  await findFailure("The link stays valid");
  expect(screen.getByRole("button", { name: "Change the address" })).toBeEnabled();
});
