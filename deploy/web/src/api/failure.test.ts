import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { failing } from "../account/test-service";
import { failureOf } from "./failure";

test("a failed call without details had no answer, and a failure of the page is none of the service", () => {
  expect(failureOf(new ConnectError("", Code.Unknown)).reason).toBe("UNREACHABLE");
  expect(failureOf(ConnectError.from(new TypeError("Failed to fetch"))).reason).toBe("UNREACHABLE");
  expect(failureOf(new TypeError("undefined is not a function")).reason).toBe("PAGE_DEFECT");
  expect(failureOf("thrown text").reason).toBe("PAGE_DEFECT");
});

test("a call that was cancelled is none that failed", () => {
  expect(failureOf(Object.assign(new Error(), { name: "AbortError" })).reason).toBe("CANCELLED");
  expect(failureOf(new ConnectError("", Code.Canceled)).reason).toBe("CANCELLED");
  expect(failureOf(new ConnectError("", Code.DeadlineExceeded)).reason).toBe("DEADLINE");
});

test("texts of the server have the quotation marks of the pages", () => {
  const violations = [{ field: "email", reason: "NEW_RULE", description: "`email` must not be `a` or `b`" }];
  expect(failureOf(failing("INVALID_FIELD", { violations })).violations).toEqual([
    { field: "email", reason: "NEW_RULE", description: "“email” must not be “a” or “b”" },
  ]);
});
