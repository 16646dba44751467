import type { Deletion } from "../gen/haven/identity/v1/account_pb";

/** How far the deletion of the account is. */
export type DeletionStep =
  | { step: "none" }
  | { step: "running" }
  /** A call has no answer that says whether the account is deleted. */
  | { step: "undecided" }
  /** The receipt is missing when the answer that had it was lost, and the account was gone at the next attempt. */
  | { step: "deleted"; receipt: Deletion | undefined };

/** The reasons of failures after which the account can be deleted. */
const UNDECIDED = ["UNREACHABLE", "DEADLINE", "CANCELLED", "CLIENT_TOO_SLOW", "DEPENDENCY_UNAVAILABLE", "INTERNAL"];

/** Returns what a failed attempt says about the deletion, after attempts that left it undecided or not. */
export function stepAfter(reason: string, isUndecided: boolean): DeletionStep {
  if (reason === "ACCOUNT_ERASED") {
    return { step: "deleted", receipt: undefined };
  }
  // The password is checked after the earlier attempts are looked up. Other refusals say nothing about them.
  if (UNDECIDED.includes(reason) || (isUndecided && reason !== "CREDENTIALS_INVALID")) {
    return { step: "undecided" };
  }
  return { step: "none" };
}
