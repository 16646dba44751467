import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter, createConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { createFetchHandler } from "@connectrpc/connect/protocol";
import { render, screen } from "@testing-library/react";
import type { ReactNode } from "react";
import { vi } from "vitest";
import { Session } from "../api/session";
import { SessionContext } from "../app/session-context";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb";
import { PersonService } from "../gen/haven/data/v1/person_pb";
import { AccountService, type ConsentGrantSchema } from "../gen/haven/identity/v1/account_pb";
import { RecoveryService } from "../gen/haven/identity/v1/recovery_pb";
import { SessionService } from "../gen/haven/identity/v1/session_pb";

/** What a test's services answer. A method that is missing is unimplemented. */
export interface Answers {
  accounts?: Partial<ServiceImpl<typeof AccountService>>;
  sessions?: Partial<ServiceImpl<typeof SessionService>>;
  recovery?: Partial<ServiceImpl<typeof RecoveryService>>;
  people?: Partial<ServiceImpl<typeof PersonService>>;
}

export const USER_ID = "0190aaaa-0000-7000-8000-000000000001";
export const SESSION_ID = "0190aaaa-0000-7000-8000-000000000002";

/** A call as it arrived. */
export interface ArrivedCall {
  method: string;
  authorization: string | null;
}

/**
 * Serves the page's calls: all of connect-web is under test, from the request to gRPC-Web's trailers. Returns the list of the
 * calls, which grows. While `isDown` returns true, there is no service.
 */
export function serve(answers: Answers, isDown: () => boolean = () => false): ArrivedCall[] {
  const calls: ArrivedCall[] = [];
  const router = createConnectRouter({ grpc: false, connect: false });
  register(router, answers);
  vi.stubGlobal("fetch", async (input: string, { signal, ...init }: RequestInit) => {
    const { pathname } = new URL(input);
    const handler = router.handlers.find(({ requestPath }) => requestPath === pathname);
    signal?.throwIfAborted();
    if (!handler || isDown()) {
      throw new TypeError("Failed to fetch");
    }
    const request = new Request(input, init);
    calls.push({ method: handler.method.name, authorization: request.headers.get("authorization") });
    return createFetchHandler(handler)(request);
  });
  return calls;
}

function register(router: ConnectRouter, { accounts, sessions, recovery, people }: Answers) {
  router.service(AccountService, accounts ?? {});
  router.service(RecoveryService, recovery ?? {});
  router.service(PersonService, people ?? {});
  router.service(SessionService, { signIn: () => tokens(), refreshSession: () => tokens(), ...sessions });
}

/** The answer of SignIn and RefreshSession. */
export function tokens(missingConsents: MessageInitShape<typeof ConsentGrantSchema>[] = [], seconds = 900) {
  const end = BigInt(Math.floor(Date.now() / 1000) + seconds);
  return {
    accessToken: "access-token",
    accessTokenExpireTime: { seconds: end },
    refreshToken: "refresh-token",
    refreshTokenExpireTime: { seconds: end },
    userId: USER_ID,
    sessionId: SESSION_ID,
    missingConsents,
  };
}

interface FailureDetails {
  retryAfter?: number;
  violations?: { field: string; reason: string; description: string }[];
}

/** Makes a failure as Haven's services do. */
export function failing(reason: string, { retryAfter, violations }: FailureDetails = {}): ConnectError {
  const failure = new ConnectError("for developers", Code.Unknown);
  failure.details.push({ desc: ErrorInfoSchema, value: { domain: "haven", reason } });
  if (violations) {
    failure.details.push({ desc: BadRequestSchema, value: { fieldViolations: violations } });
  }
  if (retryAfter !== undefined) {
    failure.details.push({ desc: RetryInfoSchema, value: { retryDelay: { seconds: BigInt(retryAfter) } } });
  }
  return failure;
}

/** Returns a session that is not signed in. */
export function newSession(): Session {
  return new Session({ identity: "https://identity.example.org", data: "https://data.example.org" });
}

/** Returns a session that is signed in at the test's services. */
export async function signedInSession(): Promise<Session> {
  const session = newSession();
  await session.signIn("ada@example.org", "kX9vQ2wZ-ada", crypto.randomUUID());
  return session;
}

export function renderWith(session: Session, page: ReactNode) {
  return render(<SessionContext value={session}>{page}</SessionContext>);
}

/** Waits for the message of a form's failure. It gets the focus, and is no live region. */
export function findFailure(sentence: string, scope: Pick<typeof screen, "findByRole"> = screen) {
  return scope.findByRole("group", { name: (name) => name.includes(sentence) });
}
