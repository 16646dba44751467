import { Code, ConnectError } from "@connectrpc/connect";
import { screen } from "@testing-library/react";
import { userEvent } from "@testing-library/user-event";
import { newSession, renderWith, serve } from "../account/test-service";
import type { CheckPasswordRequest, SignUpRequest } from "../gen/haven/identity/v1/account_pb";
import type { SignInRequest } from "../gen/haven/identity/v1/session_pb";
import { SignUpPage } from "./sign-up-page";

export const PASSWORD = "Kite-over-7-harbours";

export const rules = [
  { name: "TOO_SHORT", description: "The password must have at least 8 characters" },
  { name: "TOO_LONG", description: "The password must have at most 128 characters" },
  { name: "NO_DIGIT", description: "The password must have a digit" },
  { name: "GUESSABLE", description: "The password must not be easy to guess" },
];

/** A service with answers that a test can change, and what it was asked. */
export class TestService {
  required = [{ document: "terms", documentVersion: "2026-01" }];
  accepted = [...this.required, { document: "news", documentVersion: "1" }];
  signUps: SignUpRequest[] = [];
  signIns: SignInRequest[] = [];
  checks: CheckPasswordRequest[] = [];
  isDown = false;
  /** What becomes of a call; each may throw or wait. */
  onSignUp: (request: SignUpRequest) => void | Promise<void> = () => {};
  onSignIn: (request: SignInRequest) => void | Promise<void> = () => {};
  onCheck: (request: CheckPasswordRequest) => void | Promise<void> = () => {};
  calls = serve(
    {
      accounts: {
        getPasswordPolicy: () => ({ rules, minLength: 8, maxLength: 128 }),
        getConsentRequirements: () => ({ required: this.required, accepted: this.accepted, anyAccepted: false }),
        checkPassword: async (request) => {
          this.checks.push(request);
          await this.onCheck(request);
          return { results: rules.map((rule) => ({ rule, met: !request.password.includes(rule.name) })) };
        },
        signUp: async (request) => {
          this.signUps.push(request);
          await this.onSignUp(request);
          return {};
        },
      },
      sessions: {
        signIn: async (request) => {
          this.signIns.push(request);
          await this.onSignIn(request);
          return { userId: "1", sessionId: "2", accessToken: "a", refreshToken: "r" };
        },
      },
    },
    () => this.isDown,
  );
}

/** The answer is lost on its way: the call has no failure of Haven. */
export function lost(): never {
  throw new ConnectError("lost", Code.Unavailable);
}

/** Shows the page, and waits for the rules of the server. */
export async function openPage() {
  history.replaceState(null, "", "/");
  const session = newSession();
  const page = renderWith(session, <SignUpPage />);
  await screen.findByLabelText(/“terms”/);
  return { session, ...page };
}

export const emailInput = () => screen.getByLabelText<HTMLInputElement>("E-mail address");
export const passwordInput = () => screen.getByLabelText<HTMLInputElement>("Password");
export const submit = () => screen.getByRole("button", { name: "Create account" });

/** Fills the form in, without mistakes unless `values` has some. */
export async function fillIn(values: { email?: string; password?: string } = {}) {
  const user = userEvent.setup();
  await user.type(emailInput(), values.email ?? "ada@example.org");
  await user.type(passwordInput(), values.password ?? PASSWORD);
  await user.click(screen.getByLabelText("Make friends"));
  await user.click(screen.getByLabelText(/“terms”/));
  return user;
}
